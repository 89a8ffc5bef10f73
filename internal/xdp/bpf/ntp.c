// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Answers plain NTP requests in the network driver, before the kernel's network code sees them. Whatever is not exactly such
// a request, or may not be answered here, goes up untouched (XDP_PASS): the sockets of ntp-daemon decide about it.
//
// The rule that everything follows from: what is answered here, ntp-daemon would have answered, with the same header.
// docs/rules/server.md#fast-path says why each check stands here. compile.sh makes ntp.o of it; object_test.go compares.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NTP_LEN 48
#define SEGMENT_LEN (sizeof(struct udphdr) + NTP_LEN)
#define NS 1000000000ull
#define UNIX_EPOCH 2208988800ull // the NTP time of 1970, in seconds
#define FRACTION 18446744074ull  // 2^64 / NS, rounded: times less than NS it fits, and is right to 2^-32 s
#define MODE_CLIENT 3
#define MODE_SERVER 4
#define IP_DONT_FRAGMENT 0x4000
#define IP_FRAGMENT_MASK 0xbfff // everything but "don't fragment"
#define HOPS 64                 // the kernel's default for what it sends itself

// Bounds of the two factors of the growth of root dispersion, so that their product fits; beyond them the daemon answers.
#define MAX_AGE (1ull << 24)  // s: half a year
#define MAX_RATE (1ull << 39) // 2^-48 s/s: 0.2 %

// The offset of TAI to the monotonic clock may not have moved further than this since the state was made.
#define MAX_MOVE (NS / 4)

// What became of a datagram to an address and port that ntp-daemon serves. The order is that of fastpath.Outcome.
enum outcome {
	ANSWERED,
	RESTING, // no state, an old one, or a clock that was changed since
	LISTED,  // the access lists do not let the sender in
	OTHER,   // not a plain request; also what is damaged
	OUTCOMES,
};

// The header in words of four bytes: what stands behind an Ethernet header is aligned to no more.
struct ntp {
	__u8 leap_version_mode, stratum;
	__s8 poll, precision;
	__be32 root_delay, root_dispersion, reference_id;
	__be32 reference[2], origin[2], receive[2], transmit[2];
};

// One reply's fields and how long they hold: state.go writes it. All integers are in the host's order but those of the header.
struct state {
	__u64 serial; // first and last word are equal in a slot that is not being written
	struct ntp header;
	__u64 until;      // on the monotonic clock, ns
	__u64 tai_offset; // TAI minus UTC, s
	__u64 tai_base;   // TAI minus the monotonic clock when the state was made, ns
	__u64 reference;  // the reference timestamp as a number
	__u64 dispersion; // at the reference timestamp, 2^-32 s
	__u64 rate;       // its growth, 2^-48 s/s
	__u64 serial_again;
};

// A destination that is served: an address of this interface, with the port of its [[server]].
struct destination {
	__be32 address[4]; // IPv4 as ::ffff:a.b.c.d
	__be16 port;
	__u16 zero;
};

// An entry of the access lists. prefixlen counts the bits of all that follows.
struct listed {
	__u32 prefixlen;
	__u16 listener;
	__u8 list; // enum list
	__u8 family;
	__be32 address[4];
};

enum list { DENY, ALLOW };

// What is served at a destination.
struct listener {
	__u16 index;
	__u8 versions; // bit n: NTP version n
	__u8 checks;   // bit 0: there is a deny list, bit 1: there is an allow list
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} current SEC(".maps"); // serial of the state in force; 0: none

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps"); // the one in force is at its serial's lowest bit

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct destination);
	__type(value, struct listener);
} destinations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); // set before loading
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32[4]);
	__type(value, __u8);
} own SEC(".maps"); // the host's addresses and broadcast addresses, on all interfaces: no request comes from one

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1); // as many as there are; set before loading
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct listed);
	__type(value, __u32);
} lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps"); // of listener n from n * OUTCOMES on; max_entries is set before loading

// Constants of one interface, set before loading.
volatile const __u8 own_mac[ETH_ALEN] __attribute__((aligned(2))) = {};
volatile const __s8 least_poll = 0, most_poll = 0;
volatile const __u8 generic = 0; // behind the driver, where a packet keeps what the kernel knows of its checksum

// A request: where its parts are and who sent it.
struct request {
	struct ethhdr *eth;
	struct udphdr *udp;
	struct ntp *ntp;
	struct destination to;
	__be32 from[4];
	__u8 family; // 4 or 6
	__u8 unfinished; // the checksum is left to hardware
	__u32 pseudo; // sum of the pseudo header, whose addresses a reply only swaps
	__u32 addresses; // sum of these, IPv4
};

// A sum of words of four bytes in one such word. Such sums are those of words of two, once they are folded.
static __always_inline __u32 carry(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// Hardware addresses are taken two bytes at a time: that many is all that they are aligned to.
static __always_inline int unicast_ethernet(const struct ethhdr *eth)
{
	const __u16 *to = (const void *)eth->h_dest;
	volatile const __u16 *own = (volatile const void *)own_mac;

	if (eth->h_source[0] & 1)
		return 0;
	return ((to[0] ^ own[0]) | (to[1] ^ own[1]) | (to[2] ^ own[2])) == 0;
}

// Addresses that no client's request can have: see admitAddresses of internal/server. Loopback's are not those of a wire.
static __always_inline int possible_source4(__be32 address)
{
	__u8 first = bpf_ntohl(address) >> 24;

	return first != 0 && first != 127 && first < 224 && address != 0xffffffff;
}

static __always_inline int possible_source6(const struct in6_addr *a)
{
	const __be32 *w = a->in6_u.u6_addr32;

	if (a->in6_u.u6_addr8[0] == 0xff)
		return 0;
	return w[0] || w[1] || (w[2] && w[2] != bpf_htonl(0xffff)); // none, loopback, IPv4 in disguise
}

static __always_inline void map_address(__be32 *to, __be32 address)
{
	to[0] = to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = address;
}

// The sum of a pseudo header without its addresses.
static __always_inline __u32 pseudo_base(void)
{
	return bpf_htons(IPPROTO_UDP) + bpf_htons(SEGMENT_LEN);
}

// Whether the packet ends just there. The verifier knows no such comparison, and the compiler must not make one of these two.
static __always_inline int ends(void *at, void *end)
{
	if (at > end)
		return 0;
	asm volatile("" : "+r"(at));
	return at + 1 > end;
}

// Keeps the compiler from adding the length of either IP header behind the place where both ways meet: without CAP_PERFMON the
// verifier takes no pointer to which a number is added that depends on the way.
#define SETTLE(pointer) asm volatile("" : "+r"(pointer))

static __always_inline int parse4(void *at, void *end, struct request *r)
{
	struct iphdr *ip = at;
	__u32 *w = at;
	__u64 sum = 0;

	r->udp = (void *)(ip + 1);
	SETTLE(r->udp);
	r->ntp = (void *)(r->udp + 1);
	if (!ends(r->ntp + 1, end))
		return 0;
	if (ip->ihl != 5 || ip->version != 4 || ip->protocol != IPPROTO_UDP)
		return 0;
	if (ip->tot_len != bpf_htons(sizeof(*ip) + SEGMENT_LEN) || ip->frag_off & bpf_htons(IP_FRAGMENT_MASK))
		return 0;
	if (!possible_source4(ip->saddr) || ip->saddr == ip->daddr)
		return 0;
#pragma unroll
	for (int i = 0; i < 5; i++)
		sum += w[i];
	if (fold(sum) != 0xffff)
		return 0;
	map_address(r->to.address, ip->daddr);
	map_address(r->from, ip->saddr);
	r->family = 4;
	r->addresses = carry((__u64)ip->saddr + ip->daddr);
	r->pseudo = carry((__u64)r->addresses + pseudo_base());
	return 1;
}

static __always_inline int parse6(void *at, void *end, struct request *r)
{
	struct ipv6hdr *ip = at;
	__be32 differ = 0;
	__u64 sum = pseudo_base();

	r->udp = (void *)(ip + 1);
	SETTLE(r->udp);
	r->ntp = (void *)(r->udp + 1);
	if (!ends(r->ntp + 1, end))
		return 0;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP || ip->payload_len != bpf_htons(SEGMENT_LEN))
		return 0;
	if (!possible_source6(&ip->saddr))
		return 0;
	r->family = 6;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		r->to.address[i] = ip->daddr.in6_u.u6_addr32[i];
		r->from[i] = ip->saddr.in6_u.u6_addr32[i];
		differ |= r->to.address[i] ^ r->from[i];
		sum += (__u64)r->to.address[i] + r->from[i];
	}
	r->pseudo = carry(sum);
	return differ != 0;
}

// A checksum that is right, absent where that is allowed, or left to hardware that a packet between virtual interfaces never
// meets: then the field has the sum of the pseudo header alone.
static __always_inline int undamaged(struct request *r)
{
	__s64 sum;

	if (r->udp->check == 0)
		return r->family == 4;
	sum = bpf_csum_diff(0, 0, (void *)r->udp, SEGMENT_LEN, r->pseudo);
	if (sum < 0)
		return 0;
	if (fold(sum) == 0xffff)
		return 1;
	r->unfinished = r->udp->check == fold(r->pseudo);
	return r->unfinished;
}

// A client's request of an accepted version in basic mode. With an origin and stamps that differ it may ask for interleaved
// mode (RFC 9769 section 2), whose memory the daemon has.
static __always_inline int plain(const struct request *r, const struct listener *l)
{
	const struct ntp *n = r->ntp;
	__u8 first = n->leap_version_mode, version = first >> 3 & 7;

	if ((first & 7) != MODE_CLIENT || (version != 3 && version != 4) || !(l->versions >> version & 1))
		return 0;
	if (r->udp->len != bpf_htons(SEGMENT_LEN) || r->udp->source == 0)
		return 0;
	return (n->origin[0] | n->origin[1]) == 0 || ((n->receive[0] ^ n->transmit[0]) | (n->receive[1] ^ n->transmit[1])) == 0;
}

static __always_inline int is_listed(const struct request *r, const struct listener *l, __u8 list)
{
	struct listed key = {
		.prefixlen = (sizeof(key) - sizeof(key.prefixlen)) * 8,
		.listener = l->index,
		.list = list,
		.family = r->family,
	};

	__builtin_memcpy(key.address, r->from, sizeof(key.address));
	return bpf_map_lookup_elem(&lists, &key) != 0;
}

static __always_inline int let_in(const struct request *r, const struct listener *l)
{
	if (l->checks & 1 << DENY && is_listed(r, l, DENY))
		return 0;
	return !(l->checks & 1 << ALLOW) || is_listed(r, l, ALLOW);
}

// Root dispersion at now, in 2^-16 s and rounded up; negative when it does not fit.
static __always_inline __s64 root_dispersion(const struct state *s, __u64 now)
{
	__s64 age = now - s->reference;
	__u64 seconds, rest, sum;

	if (age < 0)
		age = 0;
	seconds = (__u64)age >> 32;
	rest = ((__u64)age >> 16 & 0xffff) + 1; // 2^-16 s
	if (seconds >= MAX_AGE || s->rate > MAX_RATE)
		return -1;
	sum = s->dispersion + ((seconds * s->rate + (rest * s->rate >> 16)) >> 16) + 1;
	sum = (sum + 0xffff) >> 16;
	return sum > 0xffffffff ? 0xffffffff : sum;
}

// The clock as an NTP timestamp, or 0 when the state does not say how to read it.
static __always_inline __u64 read_clock(const struct state *s)
{
	__u64 monotonic = bpf_ktime_get_ns(), tai = bpf_ktime_get_tai_ns();
	__u64 moved = tai - monotonic - s->tai_base + MAX_MOVE, utc, seconds;

	if (monotonic >= s->until || moved > 2 * MAX_MOVE)
		return 0;
	utc = tai - s->tai_offset * NS;
	seconds = utc / NS; // the one division: some processors take 80 cycles for one
	return ((seconds + UNIX_EPOCH) << 32) + ((utc - seconds * NS) * FRACTION >> 32);
}

static __always_inline void put(__be32 *field, __u64 timestamp)
{
	field[0] = bpf_htonl(timestamp >> 32);
	field[1] = bpf_htonl(timestamp);
}

// What a reply is made of. The request is not touched before all of it is known.
struct answer {
	struct state s;
	__u64 now;
	__u32 dispersion;
};

// Finds out what the reply is, from the state in force.
static __always_inline int reply(struct answer *a)
{
	__u32 zero = 0, slot;
	__u64 *serial = bpf_map_lookup_elem(&current, &zero), number;
	struct state *shared;
	__s64 dispersion;

	if (!serial || !(number = *(volatile __u64 *)serial))
		return 0;
	slot = number & 1;
	shared = bpf_map_lookup_elem(&states, &slot);
	if (!shared)
		return 0;
	a->s = *(volatile struct state *)shared;
	if (a->s.serial != number || a->s.serial_again != number || *(volatile __u64 *)&shared->serial != number)
		return 0;

	a->now = read_clock(&a->s);
	if (!a->now)
		return 0;
	dispersion = root_dispersion(&a->s, a->now);
	if (dispersion < 0)
		return 0;
	a->dispersion = dispersion;
	return 1;
}

// Writes the reply's header over the request's.
static __always_inline void fill(struct ntp *n, const struct answer *a)
{
	const struct ntp *own = &a->s.header;
	__u64 now = a->now & ~1ull; // transmit stamps are even and receive stamps odd: docs/rules/server.md#interleaved

	n->leap_version_mode = (own->leap_version_mode & 0xc0) | (n->leap_version_mode & 0x38) | MODE_SERVER;
	n->stratum = own->stratum;
	n->poll = n->poll < least_poll ? least_poll : n->poll > most_poll ? most_poll : n->poll;
	n->precision = own->precision;
	n->root_delay = own->root_delay;
	n->root_dispersion = bpf_htonl(a->dispersion);
	n->reference_id = own->reference_id;
	n->reference[0] = own->reference[0];
	n->reference[1] = own->reference[1];
	n->origin[0] = n->transmit[0];
	n->origin[1] = n->transmit[1];
	if (!now)
		now = 2;
	put(n->receive, now - 1); // the two stamps are one reading, in order and never "unknown"
	put(n->transmit, now);
}

static __always_inline void turn4(struct iphdr *ip, __u32 addresses)
{
	__be32 address = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = address;
	ip->tos = 0;
	ip->id = 0;
	ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
	ip->ttl = HOPS;
	ip->check = ~fold((__u64)addresses + bpf_htons(0x4500) + bpf_htons(sizeof(*ip) + SEGMENT_LEN) + bpf_htons(IP_DONT_FRAGMENT) +
			  bpf_htons(HOPS << 8 | IPPROTO_UDP));
}

static __always_inline void turn6(struct ipv6hdr *ip)
{
	__be32 *from = ip->saddr.in6_u.u6_addr32, *to = ip->daddr.in6_u.u6_addr32;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		__be32 word = from[i];

		from[i] = to[i];
		to[i] = word;
	}
	ip->priority = 0;
	__builtin_memset(ip->flow_lbl, 0, sizeof(ip->flow_lbl));
	ip->hop_limit = HOPS;
}

// Makes the request its reply, of the same length and to where it came from.
static __always_inline void turn(const struct request *r, const struct answer *a)
{
	__be16 port = r->udp->source;
	__u16 *to = (void *)r->eth->h_dest, *from = (void *)r->eth->h_source;
	__u16 check;

#pragma unroll
	for (int i = 0; i < ETH_ALEN / 2; i++) {
		__u16 pair = from[i];

		from[i] = to[i];
		to[i] = pair;
	}
	if (r->family == 4)
		turn4((void *)(r->eth + 1), r->addresses);
	else
		turn6((void *)(r->eth + 1));
	fill(r->ntp, a);
	r->udp->source = r->udp->dest;
	r->udp->dest = port;
	if (generic && r->unfinished) // still to be finished, and the sum of the pseudo header is the same
		return;
	r->udp->check = 0;
	check = ~fold(bpf_csum_diff(0, 0, (void *)r->udp, SEGMENT_LEN, r->pseudo));
	r->udp->check = check ? check : 0xffff;
}

static __always_inline enum outcome handle(struct request *r, const struct listener *l)
{
	struct answer a;

	if (!plain(r, l) || !undamaged(r))
		return OTHER;
	if (!let_in(r, l))
		return LISTED;
	if (!reply(&a))
		return RESTING;
	turn(r, &a);
	return ANSWERED;
}

SEC("xdp") int answer_ntp(struct xdp_md *ctx)
{
	void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct request r = {.eth = at};
	struct listener *l;
	enum outcome outcome;
	__u32 index;
	__u64 *counter;

	at = r.eth + 1;
	if (at > end)
		return XDP_PASS;
	if (r.eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (!parse4(at, end, &r))
			return XDP_PASS;
	} else if (r.eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if (!parse6(at, end, &r))
			return XDP_PASS;
	} else {
		return XDP_PASS;
	}
	r.to.port = r.udp->dest;
	l = bpf_map_lookup_elem(&destinations, &r.to);
	if (!l || !unicast_ethernet(r.eth) || bpf_map_lookup_elem(&own, r.from))
		return XDP_PASS;
	outcome = handle(&r, l);
	index = l->index * OUTCOMES + outcome;
	counter = bpf_map_lookup_elem(&counters, &index);
	if (counter)
		++*counter;
	return outcome == ANSWERED ? XDP_TX : XDP_PASS;
}

char terms[] SEC("license") = "Apache-2.0 OR MIT"; // no helper that is used here wants the GPL
