package config

// LogExchanges is log-exchanges of nts-pool-ke: what the log says of users' exchanges.
type LogExchanges uint8

// The styles.
const (
	LogAll      LogExchanges = iota // the seven lines of each user that the first program writes
	LogFailures                     // one line for each exchange that failed, a limited number a minute
	LogSummary                      // one line a minute, with counts and times
)

// logStyles are the words of the key, in the order of the constants.
var logStyles = []string{"all", "failures", "summary"}

// logExchanges reads log-exchanges.
func (t *table) logExchanges(e *LogExchanges) {
	if i, ok := t.oneOf("log-exchanges", logStyles...); ok {
		*e = LogExchanges(i)
	}
}
