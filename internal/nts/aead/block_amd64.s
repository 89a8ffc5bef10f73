//go:build amd64 && !purego

#include "textflag.h"

// Every load and store is unaligned (MOVOU); no instruction takes a vector from memory directly, because the
// SSE forms fault on addresses that are not multiples of 16, and packets and schedules need not be aligned.

// SPREAD adds to the four words of key the words before them and the assist word in X1; uses X2.
#define SPREAD(key) \
	MOVO   key, X2; \
	PSLLDQ $4, X2; \
	PXOR   X2, key; \
	PSLLDQ $4, X2; \
	PXOR   X2, key; \
	PSLLDQ $4, X2; \
	PXOR   X2, key; \
	PXOR   X1, key

#define ROUND128(rcon, at) \
	AESKEYGENASSIST $rcon, X0, X1; \
	PSHUFD          $0xff, X1, X1; \
	SPREAD(X0); \
	MOVOU           X0, at(DI)

// EVEN256 makes an even round key from X0, with the odd one before it in X3; ODD256 the other way round.
#define EVEN256(rcon, at) \
	AESKEYGENASSIST $rcon, X3, X1; \
	PSHUFD          $0xff, X1, X1; \
	SPREAD(X0); \
	MOVOU           X0, at(DI)

#define ODD256(at) \
	AESKEYGENASSIST $0, X0, X1; \
	PSHUFD          $0xaa, X1, X1; \
	SPREAD(X3); \
	MOVOU           X3, at(DI)

// func expandKey(rounds int, key, schedule *byte)
TEXT ·expandKey(SB), NOSPLIT, $0-24
	MOVQ  rounds+0(FP), CX
	MOVQ  key+8(FP), SI
	MOVQ  schedule+16(FP), DI
	MOVOU (SI), X0
	MOVOU X0, (DI)
	CMPQ  CX, $10
	JNE   aes256

	ROUND128(0x01, 16)
	ROUND128(0x02, 32)
	ROUND128(0x04, 48)
	ROUND128(0x08, 64)
	ROUND128(0x10, 80)
	ROUND128(0x20, 96)
	ROUND128(0x40, 112)
	ROUND128(0x80, 128)
	ROUND128(0x1b, 144)
	ROUND128(0x36, 160)
	RET

aes256:
	MOVOU 16(SI), X3
	MOVOU X3, 16(DI)
	EVEN256(0x01, 32)
	ODD256(48)
	EVEN256(0x02, 64)
	ODD256(80)
	EVEN256(0x04, 96)
	ODD256(112)
	EVEN256(0x08, 128)
	ODD256(144)
	EVEN256(0x10, 160)
	ODD256(176)
	EVEN256(0x20, 192)
	ODD256(208)
	EVEN256(0x40, 224)
	RET

// func encryptBlocks(rounds int, schedule, x *byte, n int)
TEXT ·encryptBlocks(SB), NOSPLIT, $0-32
	MOVQ rounds+0(FP), CX
	MOVQ schedule+8(FP), AX
	MOVQ x+16(FP), DI
	MOVQ n+24(FP), BX
	DECQ CX

four:
	CMPQ  BX, $4
	JLT   one
	MOVOU (DI), X0
	MOVOU 16(DI), X1
	MOVOU 32(DI), X2
	MOVOU 48(DI), X3
	MOVOU (AX), X4
	PXOR  X4, X0
	PXOR  X4, X1
	PXOR  X4, X2
	PXOR  X4, X3
	LEAQ  16(AX), R8
	MOVQ  CX, R9

fourRounds:
	MOVOU      (R8), X4
	AESENC     X4, X0
	AESENC     X4, X1
	AESENC     X4, X2
	AESENC     X4, X3
	ADDQ       $16, R8
	DECQ       R9
	JNZ        fourRounds
	MOVOU      (R8), X4
	AESENCLAST X4, X0
	AESENCLAST X4, X1
	AESENCLAST X4, X2
	AESENCLAST X4, X3
	MOVOU      X0, (DI)
	MOVOU      X1, 16(DI)
	MOVOU      X2, 32(DI)
	MOVOU      X3, 48(DI)
	ADDQ       $64, DI
	SUBQ       $4, BX
	JMP        four

one:
	TESTQ BX, BX
	JLE   done
	MOVOU (DI), X0
	MOVOU (AX), X4
	PXOR  X4, X0
	LEAQ  16(AX), R8
	MOVQ  CX, R9

oneRounds:
	MOVOU      (R8), X4
	AESENC     X4, X0
	ADDQ       $16, R8
	DECQ       R9
	JNZ        oneRounds
	MOVOU      (R8), X4
	AESENCLAST X4, X0
	MOVOU      X0, (DI)
	ADDQ       $16, DI
	DECQ       BX
	JMP        one

done:
	RET

// func chainBlocks(rounds int, schedule, x, src *byte, n int)
TEXT ·chainBlocks(SB), NOSPLIT, $0-40
	MOVQ  rounds+0(FP), CX
	MOVQ  schedule+8(FP), AX
	MOVQ  x+16(FP), DI
	MOVQ  src+24(FP), SI
	MOVQ  n+32(FP), BX
	DECQ  CX
	MOVOU (DI), X0
	MOVOU (AX), X5

link:
	// Block and first round key meet off the chain: only one XOR waits for the block before.
	MOVOU (SI), X1
	PXOR  X5, X1
	PXOR  X1, X0
	LEAQ  16(AX), R8
	MOVQ  CX, R9

linkRounds:
	MOVOU      (R8), X4
	AESENC     X4, X0
	ADDQ       $16, R8
	DECQ       R9
	JNZ        linkRounds
	MOVOU      (R8), X4
	AESENCLAST X4, X0
	ADDQ       $16, SI
	DECQ       BX
	JNZ        link
	MOVOU      X0, (DI)
	RET

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
