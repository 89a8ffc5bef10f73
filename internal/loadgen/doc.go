// Package loadgen asks a time server as fast as it can, or at a fixed rate, and says how many answers came, how long they
// took and what they cost the server. tools/ntpload is its command; internal/serverbench compares servers with it. For
// measurements only: point it at servers that you run yourself.
//
// One thread sends and receives without ever sleeping, so that it adds no wake-ups of its own. Every request has
// a place in a fixed table (places.go), whose number is in its random transmit stamp; an answer is matched to exactly one
// request by the origin stamp that it returns.
package loadgen
