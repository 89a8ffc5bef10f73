// Package web is the HTTP server that operators and their programs look through: a few pages that can only be read, for few
// readers at a time, who are never believed to be friendly.
package web
