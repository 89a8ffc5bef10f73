// Package privdrop gives up what the process does not need: every capability but the named ones, and the user root
// where there is another, on every thread, for good. It must be called after privileged files and sockets are open, and it works only in
// binaries without cgo.
package privdrop
