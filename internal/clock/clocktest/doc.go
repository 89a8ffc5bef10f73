// Package clocktest lets tests move the machine's real clock and puts it back afterwards. It is imported by
// _test.go files only.
//
// A test calls Guard; without NTPD_TEST_CLOCK=1 it is skipped there. Guard takes a lock that all such tests of
// the machine share and starts a second process, the keeper, which remembers the clock's state and, against
// CLOCK_MONOTONIC_RAW, which nobody steers, the time. The keeper puts everything back when the test ends in
// whatever way: at the end, by a panic, a time-out, SIGTERM or kill -9. It also puts the time back at once
// when the clock is more than MaxMove from where it belongs. TestMain must run Main, which is the keeper's way in:
//
//	func TestMain(m *testing.M) { os.Exit(clocktest.Main(m)) }
//
// Reference is a clock to compare with or to serve: it runs off CLOCK_MONOTONIC_RAW with an offset and a rate
// of its own.
package clocktest
