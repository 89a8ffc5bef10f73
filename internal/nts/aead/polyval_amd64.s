//go:build amd64 && !purego

#include "textflag.h"

// func polyvalBlocks(acc, h, src *byte, n int)
TEXT ·polyvalBlocks(SB), NOSPLIT, $0-32
	MOVQ  acc+0(FP), DI
	MOVQ  h+8(FP), DX
	MOVQ  src+16(FP), SI
	MOVQ  n+24(FP), BX
	MOVOU (DI), X0
	MOVOU (DX), X1

	// x^63 + x^62 + x^57: the field polynomial between its lowest and highest term, less x^64.
	MOVQ $0xc200000000000000, R8
	MOVQ R8, X7

multiply:
	MOVOU     (SI), X2
	PXOR      X2, X0
	MOVO      X0, X2
	MOVO      X0, X3
	MOVO      X0, X4
	PCLMULQDQ $0x00, X1, X2 // low · low
	PCLMULQDQ $0x11, X1, X3 // high · high
	PCLMULQDQ $0x01, X1, X4 // high of acc · low of h
	PCLMULQDQ $0x10, X1, X0 // low of acc · high of h
	PXOR      X0, X4
	MOVO      X4, X5
	PSLLDQ    $8, X5
	PSRLDQ    $8, X4
	PXOR      X5, X2
	PXOR      X4, X3

	// Fold the two low words upwards, one at a time; what is left above them is the product times x^-128.
	MOVO      X2, X4
	PCLMULQDQ $0x00, X7, X4
	PSHUFD    $0x4e, X2, X2
	PXOR      X4, X2
	MOVO      X2, X4
	PCLMULQDQ $0x00, X7, X4
	PSHUFD    $0x4e, X2, X2
	PXOR      X4, X2
	MOVO      X3, X0
	PXOR      X2, X0
	ADDQ      $16, SI
	DECQ      BX
	JNZ       multiply
	MOVOU     X0, (DI)
	RET
