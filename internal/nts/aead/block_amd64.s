//go:build amd64 && !purego

#include "textflag.h"

// Every load and store is unaligned (MOVOU); no instruction takes a vector from memory directly, because the
// SSE forms fault on addresses that are not multiples of 16, and packets and schedules need not be aligned.
// Blocks that Go has written in two halves are read in two halves (MOVQ, MOVHPS): the processor forwards a
// store to a later load only if the load lies within it, and otherwise waits until the store is in the cache.
//
// No jump and no address depends on a key or on data, only on lengths.

// The column that a round of the key schedule substitutes, for PSHUFB: the last one, turned by a byte, in every
// place; the last one as it is; the second one, turned.
DATA turnLast<>+0(SB)/8, $0x0c0f0e0d0c0f0e0d
DATA turnLast<>+8(SB)/8, $0x0c0f0e0d0c0f0e0d
GLOBL turnLast<>(SB), RODATA|NOPTR, $16
DATA last<>+0(SB)/8, $0x0f0e0d0c0f0e0d0c
DATA last<>+8(SB)/8, $0x0f0e0d0c0f0e0d0c
GLOBL last<>(SB), RODATA|NOPTR, $16
DATA turnSecond<>+0(SB)/8, $0x0407060504070605
DATA turnSecond<>+8(SB)/8, $0x0407060504070605
GLOBL turnSecond<>(SB), RODATA|NOPTR, $16
DATA rcon<>+0(SB)/8, $0x0000000100000001
DATA rcon<>+8(SB)/8, $0x0000000100000001
GLOBL rcon<>(SB), RODATA|NOPTR, $16
DATA rcon9<>+0(SB)/8, $0x0000001b0000001b
DATA rcon9<>+8(SB)/8, $0x0000001b0000001b
GLOBL rcon9<>(SB), RODATA|NOPTR, $16

// SUBSTITUTE makes in X1 four copies of a column of from, chosen and turned by mask, after the S-box and with the
// round constant: the last round of AES is the S-box, since shifting rows of equal columns changes nothing. It
// is much quicker than AESKEYGENASSIST.
#define SUBSTITUTE(from, mask, constant) \
	MOVO       from, X1; \
	PSHUFB     mask, X1; \
	AESENCLAST constant, X1

// SPREAD adds to the four words of key all the words before them, and X1; uses X2.
#define SPREAD(key) \
	MOVO   key, X2; \
	PSLLDQ $4, X2; \
	PXOR   X2, key; \
	MOVO   key, X2; \
	PSLLDQ $8, X2; \
	PXOR   X2, key; \
	PXOR   X1, key

#define ROUND128(at) \
	SUBSTITUTE(X0, X4, X5); \
	PSLLL $1, X5; \
	SPREAD(X0); \
	MOVOU X0, at(DI)

// ROUND192 makes six words: X0 holds the first four, the lower half of X3 the others. What is in its upper half never
// gets down.
#define ROUND192(at) \
	SUBSTITUTE(X3, X4, X5); \
	PSLLL  $1, X5; \
	SPREAD(X0); \
	MOVOU  X0, at(DI); \
	MOVO   X3, X2; \
	PSLLDQ $4, X2; \
	PXOR   X2, X3; \
	PSHUFD $0xff, X0, X2; \
	PXOR   X2, X3; \
	MOVQ   X3, (at+16)(DI)

// EVEN256 makes an even round key from X0, with the odd one before it in X3; ODD256 the other way round.
#define EVEN256(at) \
	SUBSTITUTE(X3, X4, X5); \
	PSLLL $1, X5; \
	SPREAD(X0); \
	MOVOU X0, at(DI)

#define ODD256(at) \
	SUBSTITUTE(X0, X6, X7); \
	SPREAD(X3); \
	MOVOU X3, at(DI)

// func expandKey(rounds int, key, schedule *byte)
TEXT ·expandKey(SB), NOSPLIT, $0-24
	MOVQ  rounds+0(FP), CX
	MOVQ  key+8(FP), SI
	MOVQ  schedule+16(FP), DI
	MOVOU (SI), X0
	MOVOU X0, (DI)
	MOVOU turnLast<>(SB), X4
	MOVOU rcon<>(SB), X5
	CMPQ  CX, $12
	JA    aes256
	JE    aes192

	ROUND128(16)
	ROUND128(32)
	ROUND128(48)
	ROUND128(64)
	ROUND128(80)
	ROUND128(96)
	ROUND128(112)
	ROUND128(128)
	MOVOU rcon9<>(SB), X5
	ROUND128(144)
	ROUND128(160)
	RET

aes192:
	MOVOU turnSecond<>(SB), X4
	MOVQ  16(SI), X3
	MOVQ  X3, 16(DI)
	ROUND192(24)
	ROUND192(48)
	ROUND192(72)
	ROUND192(96)
	ROUND192(120)
	ROUND192(144)
	ROUND192(168)
	ROUND192(192)
	RET

aes256:
	MOVOU 16(SI), X3
	MOVOU X3, 16(DI)
	MOVOU last<>(SB), X6
	PXOR  X7, X7
	EVEN256(32)
	ODD256(48)
	EVEN256(64)
	ODD256(80)
	EVEN256(96)
	ODD256(112)
	EVEN256(128)
	ODD256(144)
	EVEN256(160)
	ODD256(176)
	EVEN256(192)
	ODD256(208)
	EVEN256(224)
	RET

// LOADKEYS puts the round keys between the first and the last into X3 to X15; the first is left for the caller.
#define LOADKEYS(schedule, rounds, loaded) \
	MOVOU 16(schedule), X3; \
	MOVOU 32(schedule), X4; \
	MOVOU 48(schedule), X5; \
	MOVOU 64(schedule), X6; \
	MOVOU 80(schedule), X7; \
	MOVOU 96(schedule), X8; \
	MOVOU 112(schedule), X9; \
	MOVOU 128(schedule), X10; \
	MOVOU 144(schedule), X11; \
	CMPQ  rounds, $12; \
	JB    loaded; \
	MOVOU 160(schedule), X12; \
	MOVOU 176(schedule), X13; \
	JE    loaded; \
	MOVOU 192(schedule), X14; \
	MOVOU 208(schedule), X15

// func chainBlocks(rounds int, schedule, x, src *byte, n int)
TEXT ·chainBlocks(SB), NOSPLIT, $0-40
	MOVQ   rounds+0(FP), CX
	MOVQ   schedule+8(FP), AX
	MOVQ   x+16(FP), DI
	MOVQ   src+24(FP), SI
	MOVQ   n+32(FP), BX
	MOVQ   CX, R8
	SHLQ   $4, R8
	ADDQ   AX, R8
	MOVQ   (DI), X0
	MOVHPS 8(DI), X0
	MOVQ   (SI), X1
	MOVHPS 8(SI), X1
	MOVOU  (AX), X2
	PXOR   X2, X1
	PXOR   X1, X0
	MOVOU  (R8), X1
	PXOR   X1, X2
	LOADKEYS(AX, CX, link)

link:
	AESENC X3, X0
	AESENC X4, X0
	AESENC X5, X0
	AESENC X6, X0
	AESENC X7, X0
	AESENC X8, X0
	AESENC X9, X0
	AESENC X10, X0
	AESENC X11, X0
	CMPQ   CX, $12
	JB     joint
	AESENC X12, X0
	AESENC X13, X0
	JE     joint
	AESENC X14, X0
	AESENC X15, X0

joint:
	DECQ       BX
	JZ         done
	ADDQ       $16, SI

	// The next block, the last round key and the first of the next block are one key, made off the chain.
	MOVOU      (SI), X1
	PXOR       X2, X1
	AESENCLAST X1, X0
	JMP        link

done:
	MOVOU      (R8), X1
	AESENCLAST X1, X0
	MOVOU      X0, (DI)
	RET

#define TWO(at) \
	MOVOU  at(AX), X4; \
	AESENC X4, X0; \
	AESENC X4, X1

// func chainTwo(rounds int, schedule, x, a, b *byte, n int)
TEXT ·chainTwo(SB), NOSPLIT, $0-48
	MOVQ   rounds+0(FP), CX
	MOVQ   schedule+8(FP), AX
	MOVQ   x+16(FP), DI
	MOVQ   a+24(FP), SI
	MOVQ   b+32(FP), DX
	MOVQ   n+40(FP), BX
	MOVQ   CX, R8
	SHLQ   $4, R8
	ADDQ   AX, R8
	MOVOU  (AX), X5
	MOVQ   (DI), X0
	MOVHPS 8(DI), X0
	MOVQ   16(DI), X1
	MOVHPS 24(DI), X1
	MOVQ   (SI), X2
	MOVHPS 8(SI), X2
	MOVQ   (DX), X3
	MOVHPS 8(DX), X3
	PXOR   X5, X0
	PXOR   X5, X1
	PXOR   X2, X0
	PXOR   X3, X1
	MOVOU  (R8), X6
	PXOR   X6, X5

links:
	TWO(16)
	TWO(32)
	TWO(48)
	TWO(64)
	TWO(80)
	TWO(96)
	TWO(112)
	TWO(128)
	TWO(144)
	CMPQ CX, $12
	JB   joints
	TWO(160)
	TWO(176)
	JE   joints
	TWO(192)
	TWO(208)

joints:
	DECQ       BX
	JZ         ends
	ADDQ       $16, SI
	ADDQ       $16, DX
	MOVOU      (SI), X2
	MOVOU      (DX), X3
	PXOR       X5, X2
	PXOR       X5, X3
	AESENCLAST X2, X0
	AESENCLAST X3, X1
	JMP        links

ends:
	AESENCLAST X6, X0
	AESENCLAST X6, X1
	MOVOU      X0, (DI)
	MOVOU      X1, 16(DI)
	RET

#define FOUR(instruction, key) \
	instruction key, X0; \
	instruction key, X1; \
	instruction key, X2; \
	instruction key, X3

#define EIGHT(instruction, key) \
	FOUR(instruction, key); \
	instruction key, X4; \
	instruction key, X5; \
	instruction key, X6; \
	instruction key, X7

// func encryptBlocks(rounds int, schedule, x *byte, n int)
TEXT ·encryptBlocks(SB), NOSPLIT, $0-32
	MOVQ rounds+0(FP), CX
	MOVQ schedule+8(FP), AX
	MOVQ x+16(FP), DI
	MOVQ n+24(FP), BX
	DECQ CX

four:
	CMPQ   BX, $4
	JLT    one
	MOVOU  (DI), X0
	MOVOU  16(DI), X1
	MOVOU  32(DI), X2
	MOVOU  48(DI), X3
	MOVOU  (AX), X4
	FOUR(PXOR, X4)
	LEAQ   16(AX), R8
	MOVQ   CX, R9

fourRounds:
	MOVOU (R8), X4
	FOUR(AESENC, X4)
	ADDQ  $16, R8
	DECQ  R9
	JNZ   fourRounds
	MOVOU (R8), X4
	FOUR(AESENCLAST, X4)
	MOVOU X0, (DI)
	MOVOU X1, 16(DI)
	MOVOU X2, 32(DI)
	MOVOU X3, 48(DI)
	ADDQ  $64, DI
	SUBQ  $4, BX
	JMP   four

one:
	TESTQ  BX, BX
	JLE    done
	MOVQ   (DI), X0
	MOVHPS 8(DI), X0
	MOVOU  (AX), X4
	PXOR   X4, X0
	LEAQ   16(AX), R8
	MOVQ   CX, R9

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

DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// COUNT sets lane to the counter X9 and moves that on by X10.
#define COUNT64(lane) \
	MOVO   X9, lane; \
	PSHUFB X11, lane; \
	PADDQ  X10, X9

#define COUNT32(lane) \
	MOVO  X9, lane; \
	PADDL X10, X9

// STREAM encrypts the eight lanes and stores them. It needs AX schedule, CX rounds, DI stream.
#define STREAM(rounds) \
	MOVOU (AX), X8; \
	EIGHT(PXOR, X8); \
	DECQ  CX; \
rounds: \
	ADDQ  $16, AX; \
	MOVOU (AX), X8; \
	EIGHT(AESENC, X8); \
	DECQ  CX; \
	JNZ   rounds; \
	MOVOU 16(AX), X8; \
	EIGHT(AESENCLAST, X8); \
	MOVOU X0, (DI); \
	MOVOU X1, 16(DI); \
	MOVOU X2, 32(DI); \
	MOVOU X3, 48(DI); \
	MOVOU X4, 64(DI); \
	MOVOU X5, 80(DI); \
	MOVOU X6, 96(DI); \
	MOVOU X7, 112(DI)

// func stream64(rounds int, schedule *byte, hi, lo uint64, stream *byte)
TEXT ·stream64(SB), NOSPLIT, $0-40
	MOVQ   rounds+0(FP), CX
	MOVQ   schedule+8(FP), AX
	MOVQ   stream+32(FP), DI
	MOVQ   lo+24(FP), X9
	MOVHPS hi+16(FP), X9
	MOVL   $1, R8
	MOVQ   R8, X10
	MOVOU  reverse<>(SB), X11
	COUNT64(X0)
	COUNT64(X1)
	COUNT64(X2)
	COUNT64(X3)
	COUNT64(X4)
	COUNT64(X5)
	COUNT64(X6)
	COUNT64(X7)
	STREAM(rounds64)
	RET

// func stream32(rounds int, schedule *byte, hi, lo uint64, stream *byte)
TEXT ·stream32(SB), NOSPLIT, $0-40
	MOVQ   rounds+0(FP), CX
	MOVQ   schedule+8(FP), AX
	MOVQ   stream+32(FP), DI
	MOVQ   lo+24(FP), X9
	MOVHPS hi+16(FP), X9
	MOVL   $1, R8
	MOVQ   R8, X10
	COUNT32(X0)
	COUNT32(X1)
	COUNT32(X2)
	COUNT32(X3)
	COUNT32(X4)
	COUNT32(X5)
	COUNT32(X6)
	COUNT32(X7)
	STREAM(rounds32)
	RET
