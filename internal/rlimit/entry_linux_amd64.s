#include "textflag.h"

// The numbers of the kernel's interface on amd64.
#define SYS_write      1
#define SYS_getuid     102
#define SYS_exit_group 231
#define SYS_prlimit64  302
#define RLIMIT_NPROC   6
#define RLIMIT_AS      9

// Below these the Go runtime may end with a stack trace: leastSpace of rlimit.go, and the threads it starts before
// main. More threads are counted in Go, where those of the user's other processes can be.
#define LEAST_SPACE   0x60000000
#define LEAST_THREADS 6

// Lengths of the messages below.
#define SPACE_LEN   136
#define THREADS_LEN 82

// entry is where the kernel starts the program, in place of the Go runtime's own entry: the linker is told so with
// -E (Makefile). It looks at the two limits that end the runtime with a stack trace, names one that is too low, and
// ends with 71; otherwise it jumps to the runtime as if it had never been there. On entry 0(SP) is argc and 8(SP) is
// argv[0]; the runtime wants SP as it was.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	MOVQ SP, BX

	MOVQ $RLIMIT_AS, SI
	CALL soft<>(SB)
	MOVQ $LEAST_SPACE, R13
	LEAQ space<>(SB), R14
	MOVQ $SPACE_LEN, R15
	CMPQ AX, R13
	JCS  short

	MOVQ $RLIMIT_NPROC, SI
	CALL soft<>(SB)
	LEAQ threads<>(SB), R14
	MOVQ $THREADS_LEN, R15
	CMPQ AX, $LEAST_THREADS
	JCC  enough
	MOVQ $SYS_getuid, AX
	SYSCALL
	TESTQ AX, AX // the kernel does not hold root to it
	JNE  short

enough:
	JMP _rt0_amd64_linux(SB)

short: // writes argv[0] and the message, and ends
	MOVQ 0(BX), AX
	TESTQ AX, AX
	JEQ  message
	MOVQ 8(BX), SI
	XORQ DX, DX

length:
	CMPB (SI)(DX*1), $0
	JEQ  name
	INCQ DX
	JMP  length

name:
	MOVQ $2, DI
	MOVQ $SYS_write, AX
	SYSCALL

message:
	MOVQ $2, DI
	MOVQ R14, SI
	MOVQ R15, DX
	MOVQ $SYS_write, AX
	SYSCALL
	MOVQ $71, DI
	MOVQ $SYS_exit_group, AX
	SYSCALL
	INT  $3

// soft returns in AX the soft limit of the resource in SI; without a limit, or if it cannot be read, the largest
// number there is.
TEXT soft<>(SB),NOSPLIT|NOFRAME,$0
	SUBQ $16, SP
	MOVQ $-1, 0(SP)
	XORQ DI, DI
	XORQ DX, DX
	MOVQ SP, R10
	MOVQ $SYS_prlimit64, AX
	SYSCALL
	MOVQ 0(SP), AX
	ADDQ $16, SP
	RET

DATA space<>+0(SB)/8, $": RLIMIT"
DATA space<>+8(SB)/8, $"_AS leav"
DATA space<>+16(SB)/8, $"es less "
DATA space<>+24(SB)/8, $"than the"
DATA space<>+32(SB)/8, $" 1536 MB"
DATA space<>+40(SB)/8, $" that ar"
DATA space<>+48(SB)/8, $"e needed"
DATA space<>+56(SB)/8, $"; raise "
DATA space<>+64(SB)/8, $"it with "
DATA space<>+72(SB)/8, $"LimitAS="
DATA space<>+80(SB)/8, $" or ulim"
DATA space<>+88(SB)/8, $"it -v, a"
DATA space<>+96(SB)/8, $"nd limit"
DATA space<>+104(SB)/8, $" memory "
DATA space<>+112(SB)/8, $"with Mem"
DATA space<>+120(SB)/8, $"oryMax= "
DATA space<>+128(SB)/8, $"instead\n"
GLOBL space<>(SB), RODATA, $136

DATA threads<>+0(SB)/8, $": RLIMIT"
DATA threads<>+8(SB)/8, $"_NPROC l"
DATA threads<>+16(SB)/8, $"eaves le"
DATA threads<>+24(SB)/8, $"ss than "
DATA threads<>+32(SB)/8, $"6 thread"
DATA threads<>+40(SB)/8, $"s; raise"
DATA threads<>+48(SB)/8, $" it with"
DATA threads<>+56(SB)/8, $" LimitNP"
DATA threads<>+64(SB)/8, $"ROC= or "
DATA threads<>+72(SB)/8, $"ulimit -"
DATA threads<>+80(SB)/8, $"u\n\x00\x00\x00\x00\x00\x00"
GLOBL threads<>(SB), RODATA, $88
