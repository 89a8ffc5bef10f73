// Package udp moves NTP datagrams and the moments at which the kernel saw them.
//
// A Conn is one client exchange's socket: fresh random port, answers only from the server that was asked,
// kernel receive and transmit stamps. A Server is one worker's socket: batches of datagrams in and out,
// replies leave from the address that was asked. Where the kernel gives no stamp, both read the clock function
// they were given.
//
// It knows nothing of what the datagrams mean, keeps no goroutine and never logs; on Linux it uses the batch
// and error-queue calls directly, elsewhere plain package net.
package udp
