//go:build arm64 && !purego

#include "textflag.h"

// No jump and no address depends on a key or on data, only on lengths. AESE adds the round key first, so the key of
// round i is that of the instruction i, and the last key is added by itself.

// SUBSTITUTE sets R12 to the S-box of each byte of the word w, turned by shift bits, and the constant: AESE with the
// key zero (V1) is the S-box, since shifting rows of equal columns changes nothing.
#define SUBSTITUTE(w, shift, constant) \
	RORW $shift, w, R12; \
	VDUP R12, V0.S4; \
	AESE V1.B16, V0.B16; \
	VMOV V0.S[0], R12; \
	MOVW $constant, R13; \
	EORW R13, R12, R12

#define FOURWORDS(a, b, c, d) \
	EORW   R12, a, a; \
	EORW   a, b, b; \
	EORW   b, c, c; \
	EORW   c, d, d; \
	MOVW.P a, 4(R2); \
	MOVW.P b, 4(R2); \
	MOVW.P c, 4(R2); \
	MOVW.P d, 4(R2)

#define ROUND128(constant) \
	SUBSTITUTE(R7, 8, constant); \
	FOURWORDS(R4, R5, R6, R7)

#define ROUND192(constant) \
	SUBSTITUTE(R9, 8, constant); \
	FOURWORDS(R4, R5, R6, R7); \
	EORW   R7, R8, R8; \
	EORW   R8, R9, R9; \
	MOVW.P R8, 4(R2); \
	MOVW.P R9, 4(R2)

#define EVEN256(constant) \
	SUBSTITUTE(R11, 8, constant); \
	FOURWORDS(R4, R5, R6, R7)

#define ODD256 \
	SUBSTITUTE(R7, 0, 0); \
	FOURWORDS(R8, R9, R10, R11)

// COPY moves a word of the key to the schedule and keeps it in w.
#define COPY(w) \
	MOVWU.P 4(R1), w; \
	MOVW.P  w, 4(R2)

// func expandKey(rounds int, key, schedule *byte)
TEXT ·expandKey(SB), NOSPLIT, $0-24
	MOVD rounds+0(FP), R0
	MOVD key+8(FP), R1
	MOVD schedule+16(FP), R2
	VEOR V1.B16, V1.B16, V1.B16
	COPY(R4)
	COPY(R5)
	COPY(R6)
	COPY(R7)
	CMP  $12, R0
	BGT  aes256
	BEQ  aes192

	ROUND128(0x01)
	ROUND128(0x02)
	ROUND128(0x04)
	ROUND128(0x08)
	ROUND128(0x10)
	ROUND128(0x20)
	ROUND128(0x40)
	ROUND128(0x80)
	ROUND128(0x1b)
	ROUND128(0x36)
	RET

aes192:
	COPY(R8)
	COPY(R9)
	ROUND192(0x01)
	ROUND192(0x02)
	ROUND192(0x04)
	ROUND192(0x08)
	ROUND192(0x10)
	ROUND192(0x20)
	ROUND192(0x40)
	ROUND192(0x80)
	RET

aes256:
	COPY(R8)
	COPY(R9)
	COPY(R10)
	COPY(R11)
	EVEN256(0x01)
	ODD256
	EVEN256(0x02)
	ODD256
	EVEN256(0x04)
	ODD256
	EVEN256(0x08)
	ODD256
	EVEN256(0x10)
	ODD256
	EVEN256(0x20)
	ODD256
	EVEN256(0x40)
	RET

// LOADKEYS puts the first keys of the schedule R1 into V16 to V24 (and as far as V28, for more than 10 rounds), the
// last but one into V30 and the last into V31; R0 is the number of rounds. It moves R1 and uses R8.
#define LOADKEYS(loaded) \
	ADD    R0<<4, R1, R8; \
	SUB    $16, R8, R8; \
	VLD1   (R8), [V30.B16, V31.B16]; \
	VLD1.P 64(R1), [V16.B16, V17.B16, V18.B16, V19.B16]; \
	VLD1.P 64(R1), [V20.B16, V21.B16, V22.B16, V23.B16]; \
	VLD1.P 16(R1), [V24.B16]; \
	CMP    $12, R0; \
	BLT    loaded; \
	VLD1.P 32(R1), [V25.B16, V26.B16]; \
	BEQ    loaded; \
	VLD1   (R1), [V27.B16, V28.B16]; \
loaded:

#define ROUND(key, x) \
	AESE  key.B16, x.B16; \
	AESMC x.B16, x.B16

#define ROUND2(key) \
	ROUND(key, V0); \
	ROUND(key, V1)

#define ROUND4(key) \
	ROUND2(key); \
	ROUND(key, V2); \
	ROUND(key, V3)

#define ROUND8(key) \
	ROUND4(key); \
	ROUND(key, V4); \
	ROUND(key, V5); \
	ROUND(key, V6); \
	ROUND(key, V7)

// ROUNDS runs all rounds that mix columns.
#define ROUNDS(round, mixed) \
	round(V16); \
	round(V17); \
	round(V18); \
	round(V19); \
	round(V20); \
	round(V21); \
	round(V22); \
	round(V23); \
	round(V24); \
	CMP $12, R0; \
	BLT mixed; \
	round(V25); \
	round(V26); \
	BEQ mixed; \
	round(V27); \
	round(V28); \
mixed:

#define ROUND1(key) ROUND(key, V0)

// func chainBlocks(rounds int, schedule, x, src *byte, n int)
TEXT ·chainBlocks(SB), NOSPLIT, $0-40
	MOVD   rounds+0(FP), R0
	MOVD   schedule+8(FP), R1
	MOVD   x+16(FP), R2
	MOVD   src+24(FP), R3
	MOVD   n+32(FP), R4
	VLD1   (R2), [V0.B16]
	VLD1.P 16(R3), [V4.B16]
	VEOR   V4.B16, V0.B16, V0.B16
	LOADKEYS(loaded)

link:
	ROUNDS(ROUND1, mixed)
	AESE   V30.B16, V0.B16
	SUBS   $1, R4
	BEQ    done
	VLD1.P 16(R3), [V4.B16]
	VEOR   V31.B16, V4.B16, V4.B16 // off the chain
	VEOR   V4.B16, V0.B16, V0.B16
	B      link

done:
	VEOR V31.B16, V0.B16, V0.B16
	VST1 [V0.B16], (R2)
	RET

// func chainTwo(rounds int, schedule, x, a, b *byte, n int)
TEXT ·chainTwo(SB), NOSPLIT, $0-48
	MOVD   rounds+0(FP), R0
	MOVD   schedule+8(FP), R1
	MOVD   x+16(FP), R2
	MOVD   a+24(FP), R3
	MOVD   b+32(FP), R5
	MOVD   n+40(FP), R4
	VLD1   (R2), [V0.B16, V1.B16]
	VLD1.P 16(R3), [V4.B16]
	VLD1.P 16(R5), [V5.B16]
	VEOR   V4.B16, V0.B16, V0.B16
	VEOR   V5.B16, V1.B16, V1.B16
	LOADKEYS(loaded)

links:
	ROUNDS(ROUND2, mixed)
	AESE   V30.B16, V0.B16
	AESE   V30.B16, V1.B16
	SUBS   $1, R4
	BEQ    ends
	VLD1.P 16(R3), [V4.B16]
	VLD1.P 16(R5), [V5.B16]
	VEOR   V31.B16, V4.B16, V4.B16
	VEOR   V31.B16, V5.B16, V5.B16
	VEOR   V4.B16, V0.B16, V0.B16
	VEOR   V5.B16, V1.B16, V1.B16
	B      links

ends:
	VEOR V31.B16, V0.B16, V0.B16
	VEOR V31.B16, V1.B16, V1.B16
	VST1 [V0.B16, V1.B16], (R2)
	RET

// func encryptBlocks(rounds int, schedule, x *byte, n int)
TEXT ·encryptBlocks(SB), NOSPLIT, $0-32
	MOVD rounds+0(FP), R0
	MOVD schedule+8(FP), R1
	MOVD x+16(FP), R2
	MOVD n+24(FP), R4
	LOADKEYS(loaded)

four:
	CMP    $4, R4
	BLT    one
	VLD1   (R2), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROUNDS(ROUND4, mixed4)
	AESE   V30.B16, V0.B16
	AESE   V30.B16, V1.B16
	AESE   V30.B16, V2.B16
	AESE   V30.B16, V3.B16
	VEOR   V31.B16, V0.B16, V0.B16
	VEOR   V31.B16, V1.B16, V1.B16
	VEOR   V31.B16, V2.B16, V2.B16
	VEOR   V31.B16, V3.B16, V3.B16
	VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R2)
	SUB    $4, R4
	B      four

one:
	CBZ    R4, done
	VLD1   (R2), [V0.B16]
	ROUNDS(ROUND1, mixed1)
	AESE   V30.B16, V0.B16
	VEOR   V31.B16, V0.B16, V0.B16
	VST1.P [V0.B16], 16(R2)
	SUB    $1, R4
	B      one

done:
	RET

// STREAM encrypts the eight lanes and stores them at R2.
#define STREAM(mixed) \
	ROUNDS(ROUND8, mixed); \
	AESE   V30.B16, V0.B16; \
	AESE   V30.B16, V1.B16; \
	AESE   V30.B16, V2.B16; \
	AESE   V30.B16, V3.B16; \
	AESE   V30.B16, V4.B16; \
	AESE   V30.B16, V5.B16; \
	AESE   V30.B16, V6.B16; \
	AESE   V30.B16, V7.B16; \
	VEOR   V31.B16, V0.B16, V0.B16; \
	VEOR   V31.B16, V1.B16, V1.B16; \
	VEOR   V31.B16, V2.B16, V2.B16; \
	VEOR   V31.B16, V3.B16, V3.B16; \
	VEOR   V31.B16, V4.B16, V4.B16; \
	VEOR   V31.B16, V5.B16, V5.B16; \
	VEOR   V31.B16, V6.B16, V6.B16; \
	VEOR   V31.B16, V7.B16, V7.B16; \
	VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R2); \
	VST1   [V4.B16, V5.B16, V6.B16, V7.B16], (R2)

// COUNT64 sets lane to the big-endian counter whose upper half, in the order of bytes in memory, is R6, and moves its
// lower half R7 on; COUNT32 sets it to the counter V8 and moves that on by V9.
#define COUNT64(lane) \
	REV  R7, R8; \
	VMOV R6, lane.D[0]; \
	VMOV R8, lane.D[1]; \
	ADD  $1, R7, R7

#define COUNT32(lane) \
	VMOV V8.B16, lane.B16; \
	VADD V9.S4, V8.S4, V8.S4

// func stream64(rounds int, schedule *byte, hi, lo uint64, stream *byte)
TEXT ·stream64(SB), NOSPLIT, $0-40
	MOVD rounds+0(FP), R0
	MOVD schedule+8(FP), R1
	MOVD hi+16(FP), R6
	MOVD lo+24(FP), R7
	MOVD stream+32(FP), R2
	LOADKEYS(loaded)
	REV  R6, R6
	COUNT64(V0)
	COUNT64(V1)
	COUNT64(V2)
	COUNT64(V3)
	COUNT64(V4)
	COUNT64(V5)
	COUNT64(V6)
	COUNT64(V7)
	STREAM(mixed)
	RET

// func stream32(rounds int, schedule *byte, hi, lo uint64, stream *byte)
TEXT ·stream32(SB), NOSPLIT, $0-40
	MOVD rounds+0(FP), R0
	MOVD schedule+8(FP), R1
	MOVD hi+16(FP), R6
	MOVD lo+24(FP), R7
	MOVD stream+32(FP), R2
	LOADKEYS(loaded)
	VMOV R7, V8.D[0]
	VMOV R6, V8.D[1]
	VEOR V9.B16, V9.B16, V9.B16
	MOVD $1, R8
	VMOV R8, V9.S[0]
	COUNT32(V0)
	COUNT32(V1)
	COUNT32(V2)
	COUNT32(V3)
	COUNT32(V4)
	COUNT32(V5)
	COUNT32(V6)
	COUNT32(V7)
	STREAM(mixed)
	RET
