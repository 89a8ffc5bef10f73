//go:build arm64 && !purego

#include "textflag.h"

// func polyvalBlocks(acc, h, src *byte, n int)
TEXT ·polyvalBlocks(SB), NOSPLIT, $0-32
	MOVD acc+0(FP), R0
	MOVD h+8(FP), R1
	MOVD src+16(FP), R2
	MOVD n+24(FP), R3
	VLD1 (R0), [V0.B16]
	VLD1 (R1), [V1.B16]
	VEXT $8, V1.B16, V1.B16, V3.B16 // h with its halves exchanged
	VEOR V7.B16, V7.B16, V7.B16

	// x^63 + x^62 + x^57: the field polynomial between its lowest and highest term, less x^64.
	MOVD $0xc200000000000000, R4
	VMOV R4, V9.D[0]

multiply:
	VLD1.P  16(R2), [V2.B16]
	VEOR    V2.B16, V0.B16, V0.B16
	VPMULL  V1.D1, V0.D1, V4.Q1           // low · low
	VPMULL2 V1.D2, V0.D2, V5.Q1           // high · high
	VPMULL  V3.D1, V0.D1, V6.Q1           // low of acc · high of h
	VPMULL2 V3.D2, V0.D2, V2.Q1           // high of acc · low of h
	VEOR    V2.B16, V6.B16, V6.B16
	VEXT    $8, V6.B16, V7.B16, V8.B16    // moved up by 64 bits
	VEOR    V8.B16, V4.B16, V4.B16
	VEXT    $8, V7.B16, V6.B16, V8.B16    // moved down by 64 bits
	VEOR    V8.B16, V5.B16, V5.B16

	// Fold the two low words upwards, one at a time; what is left above them is the product times x^-128.
	VPMULL  V9.D1, V4.D1, V6.Q1
	VEXT    $8, V4.B16, V4.B16, V4.B16
	VEOR    V6.B16, V4.B16, V4.B16
	VPMULL  V9.D1, V4.D1, V6.Q1
	VEXT    $8, V4.B16, V4.B16, V4.B16
	VEOR    V6.B16, V4.B16, V4.B16
	VEOR    V5.B16, V4.B16, V0.B16
	SUBS    $1, R3
	BNE     multiply
	VST1    [V0.B16], (R0)
	RET
