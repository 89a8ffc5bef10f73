/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Put in front of the C library by `build/sid/run` with NOCLOCK=1: whoever sets the clock is told that it is done, and
 * the clock of this machine is left alone. For peers that do not run without clock control (ntpd-rs). They run without
 * CAP_SYS_TIME as well, so a call that misses this file fails.
 */
#include <sys/timex.h>
#include <time.h>

int clock_adjtime(clockid_t clock, struct timex *t);
int adjtimex(struct timex *t);

/* The discipline that a caller has set, and reads back. */
static long frequency, maximum_error, estimated_error, constant;
static int status;

int clock_adjtime(clockid_t clock, struct timex *t)
{
	(void)clock;
	if (t->modes & ADJ_FREQUENCY)
		frequency = t->freq;
	if (t->modes & ADJ_MAXERROR)
		maximum_error = t->maxerror;
	if (t->modes & ADJ_ESTERROR)
		estimated_error = t->esterror;
	if (t->modes & ADJ_TIMECONST)
		constant = t->constant;
	if (t->modes & ADJ_STATUS)
		status = t->status;
	t->offset = 0;
	t->freq = frequency;
	t->maxerror = maximum_error;
	t->esterror = estimated_error;
	t->constant = constant;
	t->status = status;
	t->precision = 1;
	t->tolerance = 500L << 16; /* ppm */
	t->tick = 10000;	   /* microseconds, at 100 Hz */
	t->tai = 0;
	return TIME_OK;
}

int adjtimex(struct timex *t) { return clock_adjtime(CLOCK_REALTIME, t); }
int ntp_adjtime(struct timex *t) { return clock_adjtime(CLOCK_REALTIME, t); }

int clock_settime(clockid_t clock, const struct timespec *t)
{
	(void)clock;
	(void)t;
	return 0;
}
