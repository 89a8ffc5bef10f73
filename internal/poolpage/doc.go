// Package poolpage is the status page of nts-pool-ke: one HTML document that needs no script and no other file, made of a
// snapshot. What it says in words comes from package poolview.
package poolpage
