// Package member is a pool's side of NTS key exchange towards its members, the time sources: information
// requests and fixed key requests (draft-venhoek-nts-pool) in the three dialects that are in use, over
// connections that are kept.
//
// It owns these connections and the memory of a time source's dialect and token. Messages are made and judged in
// nts/record; TLS settings and framing come from nts/ke. Whom to ask, and what of an answer may reach a user, is
// decided in pool and poolke. No key, cookie, token or unquoted byte of a peer reaches an error's text.
package member
