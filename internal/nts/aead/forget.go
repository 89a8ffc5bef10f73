package aead

// Forget overwrites what c keeps of the last message that it sealed or opened: key stream, ends of texts, what Remember
// kept, and the keys that GCM-SIV makes for one nonce. The key stays, and so does the wish of Remember.
func (c *Cipher) Forget() {
	clear(c.tag[:])
	clear(c.stream[:])
	if c.algorithm == GCMSIV128 {
		c.ctr = block{}
		clear(c.gcm.sum[:])
		c.gcm.hash = polyval{portable: c.gcm.hash.portable}
		return
	}
	s := &c.siv
	clear(s.mac.x[:])
	clear(s.mac.last[:])
	clear(s.d[:])
	clear(s.x[:])
	clear(s.last[:])
	clear(s.tail[:])
	if s.before.on {
		s.before = repeats{on: true, adN: -1}
	}
}

// forgetKey overwrites the schedules of all algorithms and what was derived from the key.
func (c *Cipher) forgetKey() {
	c.siv, c.gcm, c.ctr = siv{before: c.siv.before}, gcmsiv{}, block{}
}
