// Package poolview turns the snapshot of nts-pool-ke into words: how each time source is, why it is handed out or not, and
// what its operator should look at. The status page and ntp-ctl say the same because both ask here.
package poolview
