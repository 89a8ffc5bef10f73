// Package alarm runs a function at a time, like time.AfterFunc, at the least cost for a process that mostly waits. Go's own
// timers wake two threads, and do so even for a time that was put off or given up meanwhile. Each Alarm on Linux
// is a timer of the kernel's, which forgets a time at once when it is told to, and wakes one thread.
package alarm
