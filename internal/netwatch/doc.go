// Package netwatch says when this host may have got a way to the network that it had not before: a link that runs, an
// address, a route. Whoever waits out a failure can then try again at once.
//
// It knows neither sources nor clocks. What the kernel says is a hint, nothing more: nobody may rely on being told.
package netwatch
