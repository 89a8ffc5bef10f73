// Package record is the wire format of NTS key exchange: the records of RFC 8915 §4.1, the records of the
// NTS pool in the three dialects that are in use, and the messages made of them.
//
// Reading goes in two steps: a Framer says where the first message of a byte stream ends, under caps on
// bytes and records, and one of the Parse functions turns exactly that message into a value or a Fault.
// Parsed values alias the message; whoever keeps a cookie or a key must copy it.
//
// It owns no connection, clock, key or randomness, and it decides nothing about privileges: who may ask for
// what is the business of nts/ke and pool.
package record
