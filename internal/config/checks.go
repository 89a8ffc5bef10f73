package config

// A Check is one thing that is looked at before a program starts or while it does, and the one place that says what follows
// when it is not as it should be. `ntp-ctl validate` and the start of the programs judge by the same table; ntp-daemon(8)
// prints it (docs/rules/configuration.md#one-list).
//
// What is wrong with the text of a file ends the start: half a configuration would be a guess. What is wrong with this
// machine keeps one part down and is looked at again, because a certificate, an address or a folder may come later and the
// clock of the host must not wait for it.
type Check struct {
	Name     string // as messages and the manual call it
	About    About
	Daemon   Effect // on ntp-daemon's start
	Pool     Effect // on nts-pool-ke's start
	Exit     int    // the exit code of a program that ends; 0 when none does
	Validate int    // the exit code of `ntp-ctl validate`; 0 when it cannot see it or only mentions it
	What     string // what is wrong, as a line of the manual
	Then     string // what runs and what does not, as a line of the manual; empty for what ends the programs
}

// About says what a check looks at.
type About uint8

// What checks look at.
const (
	AboutFile    About = iota // the text of the configuration: the answer is the same everywhere
	AboutMachine              // this machine: files that keys name, addresses, folders; `validate --offline` leaves it out
	AboutStart                // what shows only when a program starts
)

// Effect is what a program does about a check that failed.
type Effect uint8

// The effects.
const (
	None Effect = iota // the program does not have it
	Told               // one line in the log, and nothing else
	Down               // that part stays down with a line that says so, everything else runs, and it is tried again
	Ends               // the program ends with Check.Exit
)

// CheckID is the place of a check in Checks.
type CheckID uint8

// The checks.
const (
	CheckAdvice          CheckID = iota // the zero value: whatever is legal and seldom meant
	CheckText                           // not TOML, unknown, missing, out of range, contradictory
	CheckReadable                       // the configuration itself
	CheckNotBuilt                       // what the suite knows and cannot do yet
	CheckListenTwice                    // two sections that want one address
	CheckShortToken                     // a token that can be guessed
	CheckCertificate                    // certificate-chain-path and private-key-path
	CheckCertificateUse                 // a certificate that loads and that clients will not like
	CheckCertificateTime                // one that loads and ends soon, or begins later
	CheckPoolCertificate                // authorized-pool-server-certificates
	CheckTokenFile                      // token-file
	CheckAuthority                      // certificate-authority, certificate-authority-path
	CheckRoot                           // one root of such a file
	CheckGeography                      // geolocation-db-path
	CheckResolver                       // who validates SRV records
	CheckFileMode                       // who else may read or write a file
	CheckListenAbsent                   // an address that no interface has
	CheckSocketFolder                   // the folder of a socket
	CheckStateFolder                    // the folder of what outlives a restart
	CheckLogFile                        // log-path
	CheckUser                           // [process] user
	CheckUsage                          // the command line
	CheckListenTaken                    // an address that another program has
	CheckPermission                     // the clock, a port below 1024
	CheckSystem                         // resource limits and whatever else the system refuses
	CheckPoolRun                        // whatever else stops nts-pool-ke, by the code of the first of its kind
	CheckStep                           // a step beyond the limits, with panic-action = "exit"
	CheckBug                            // our own mistake
)

// Checks is the table, by CheckID.
func Checks() []Check {
	return []Check{
		CheckAdvice:          {"advice", AboutFile, Told, Told, 0, 1, "something legal that is seldom meant", "as written"},
		CheckText:            {"text", AboutFile, Ends, Ends, 78, 78, "no TOML; a key that is unknown, missing, out of range or contradicts another", ""},
		CheckReadable:        {"readable", AboutFile, Ends, Ends, 78, 78, "the configuration cannot be read", ""},
		CheckNotBuilt:        {"not-built", AboutFile, Ends, None, 78, 78, "the configuration asks for what is not built yet", ""},
		CheckListenTwice:     {"listen-twice", AboutFile, Ends, Ends, 78, 78, "two sections want one address and port", ""},
		CheckShortToken:      {"short-token", AboutFile, Told, Told, 0, 1, "a token has fewer than 16 characters", "as written"},
		CheckCertificate:     {"certificate", AboutMachine, Down, Ends, 78, 78, "a certificate or its key is absent, unreadable, damaged, expired, or they do not belong together", "the others; that key exchange server is down"},
		CheckCertificateUse:  {"certificate-use", AboutMachine, Told, Told, 0, 1, "a certificate names no host, is for clients only, or lacks its issuer", "as written"},
		CheckCertificateTime: {"certificate-time", AboutMachine, Told, Told, 0, 1, "a certificate expires within 14 days, or is not valid yet", "as written; programs that run warn once a day, by the time that they believe"},
		CheckPoolCertificate: {"pool-certificate", AboutMachine, Down, None, 0, 78, "a file of authorized-pool-server-certificates cannot be used", "the key exchange server, which does not know that pool"},
		CheckTokenFile:       {"token-file", AboutMachine, None, Ends, 78, 78, "a token file cannot be used", ""},
		CheckAuthority:       {"authority", AboutMachine, Down, Down, 0, 78, "a file of trusted roots cannot be used", "the others; key exchanges that need it fail with that reason"},
		CheckRoot:            {"root", AboutMachine, Told, Told, 0, 1, "one root of such a file cannot be used", "the other roots count"},
		CheckGeography:       {"geolocation-db", AboutMachine, None, Down, 0, 1, "the database of countries cannot be used", "users are served from all of the list"},
		CheckResolver:        {"resolver", AboutMachine, Told, None, 0, 1, "SRV records are wanted, and no name server is believed to validate them", "the other sources; that one is missing until there is such a name server"},
		CheckFileMode:        {"file-mode", AboutMachine, Told, Told, 0, 1, "a file with secrets can be read or changed by others, or the configuration changed", "as written"},
		CheckListenAbsent:    {"listen-absent", AboutMachine, Down, Ends, 70, 1, "no interface has the address", "the others; it listens when the address comes"},
		CheckSocketFolder:    {"socket-folder", AboutMachine, Down, Down, 0, 1, "the folder of a socket is absent, and so is the one that holds it", "without the socket, until it can be had"},
		CheckStateFolder:     {"state-folder", AboutMachine, Told, Told, 0, 1, "the folder of directory, key-storage-path or state-path is absent", "what would be kept there does not survive a restart"},
		CheckLogFile:         {"log-file", AboutMachine, Down, Ends, 78, 1, "the log file cannot be written", "the log goes to standard output, until the file can be written"},
		CheckUser:            {"user", AboutMachine, Ends, Ends, 78, 78, "the user of [process] does not exist", ""},
		CheckUsage:           {"usage", AboutStart, Ends, Ends, 64, 0, "the command line is wrong", ""},
		CheckListenTaken:     {"listen-taken", AboutStart, Ends, None, 69, 0, "another program has the address and port", ""},
		CheckPermission:      {"permission", AboutStart, Ends, None, 77, 0, "this user may not set the clock or use a port", ""},
		CheckSystem:          {"system", AboutStart, Ends, Ends, 71, 0, "a resource limit is too low, or the system refuses something else", ""},
		CheckPoolRun:         {"pool-run", AboutStart, None, Ends, 70, 0, "the pool cannot listen, its address being taken or not permitted, or cannot go on", ""},
		CheckStep:            {"step", AboutStart, Ends, None, 70, 0, "a step is beyond its limit and panic-action is exit", ""},
		CheckBug:             {"bug", AboutStart, Ends, Ends, 70, 0, "a mistake of ours", ""},
	}
}

// Check returns the row of the check.
func (id CheckID) Check() Check { return Checks()[id] }
