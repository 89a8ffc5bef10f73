// Package durable reads and replaces small files so that a crash, a full disk or another user of the machine cannot
// damage them: a file is replaced as a whole or not at all, links are not followed, and a state folder has one process
// at a time. It also opens the files that an operator names, whose links are followed, so that nothing waits for a pipe. It
// knows nothing of what the files contain.
package durable
