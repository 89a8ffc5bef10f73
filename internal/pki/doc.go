// Package pki reads the files of certificates: chains, their keys and trusted roots. It finds what such a file loses without
// a word in the usual libraries, names the line, and says what a certificate is when it is not what a server needs
// (docs/rules/configuration.md#pem).
//
// It must not choose when to read, log, or know which key of a configuration named a file.
package pki
