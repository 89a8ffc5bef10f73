package loadgen

import "time"

// cost is what was used between two looks, for so many answers; nil when nobody is looked at.
func cost(pids []int, before, after Usage, answers uint64, length time.Duration) *Cost {
	if len(pids) == 0 {
		return nil
	}
	cpu, seconds := after.CPU-before.CPU, length.Seconds()
	c := &Cost{
		Share:       cpu.Seconds() / seconds,
		PerSecond:   cpu.Seconds() * 1e6 / seconds,
		Voluntary:   float64(after.Voluntary-before.Voluntary) / seconds,
		Involuntary: float64(after.Involuntary-before.Involuntary) / seconds,
		ResidentKiB: after.ResidentKiB,
		AnonKiB:     after.AnonKiB,
	}
	if answers > 0 {
		c.Each = cpu.Seconds() * 1e6 / float64(answers)
	}
	return c
}

// Watch looks at processes that are left alone for so long: what they cost while nobody asks.
func Watch(pids []int, length time.Duration) Result {
	began, before := time.Now(), ReadUsage(pids)
	time.Sleep(length)
	after, took := ReadUsage(pids), time.Since(began)
	return Result{Seconds: took.Seconds(), Server: cost(pids, before, after, 0, took)}
}
