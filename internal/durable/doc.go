// Package durable keeps small files through crashes, full disks and hostile neighbours: a file is replaced as
// a whole or not at all, links are not followed, and a state folder has one user at a time. It knows nothing
// of what the files contain.
package durable
