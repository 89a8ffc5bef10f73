package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"ntp-daemon/internal/sim"
)

// Pair is a median over the seeds and the worst of them.
type Pair struct {
	Median num `json:"median"`
	Worst  num `json:"worst"`
}

// num is a figure with four digits, so that a record is short and the same everywhere.
type num float64

// MarshalJSON writes four digits.
func (n num) MarshalJSON() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(n), 'g', 4, 64)), nil
}

// Record is what the runs of one scenario under one policy gave. Times are in s, frequencies in s/s.
type Record struct {
	Scenario string `json:"scenario"`
	Policy   string `json:"policy"`
	Seeds    int    `json:"seeds"`
	Stopped  int    `json:"stopped,omitempty"` // runs in which the client gave up

	RMS     Pair `json:"rms"`
	P99     num  `json:"p99"`
	Max     num  `json:"max"` // of all seeds
	RMSFreq num  `json:"rms_freq"`
	Delay   num  `json:"delay"`
	Linear  num  `json:"linear,omitempty"` // bound of a linear estimator at the run's own rate of samples
	Oracle  num  `json:"oracle,omitempty"` // RMS of a Kalman filter that knows wander and variance, on the same noise
	Packets num  `json:"packets"`
	Steps   num  `json:"steps"` // most

	Seconds   int  `json:"served"` // in which a time was served, all seeds
	Uncovered int  `json:"uncovered"`
	Within1   int  `json:"within_1"`
	Within3   int  `json:"within_3"`
	Bound     Pair `json:"bound"`
	Excess    num  `json:"excess,omitempty"`

	Start *Start `json:"start,omitempty"`
	Event *Event `json:"event,omitempty"`
	Hold  *Hold  `json:"hold,omitempty"`
}

// Start is what a start looked like.
type Start struct {
	Settle     [3]Pair `json:"settle"` // seconds until the error is below 1 ms, 100 µs, 20 µs for five minutes
	Last       [3]Pair `json:"last"`   // the second after the last one above, within the first hour
	Overshoot  Pair    `json:"overshoot"`
	Packets60  num     `json:"packets_60"`
	Packets400 num     `json:"packets_400"`
}

// Event is what followed an event.
type Event struct {
	Settle [3]Pair `json:"settle"`
	Last   [3]Pair `json:"last"`
	Peak   Pair    `json:"peak"`
	PeakAt num     `json:"peak_at"`
	Hour   num     `json:"rms_hour"`
	Late   num     `json:"rms_late"`
}

// Hold is the error without a server, RMS over the seeds, at sim.HoldTimes; and what an estimator that knows the oscillator's
// wander and the noise's variance had on the same noise.
type Hold struct {
	RMS    [5]num `json:"rms"`
	Oracle [5]num `json:"oracle"`
}

// record makes one of a row.
func (row *Row) record() Record {
	list := row.Runs
	pair := func(of func(*sim.Result) float64) Pair {
		mid, worst := row.median(of)
		return Pair{num(mid), num(worst)}
	}
	mid := func(of func(*sim.Result) float64) num { return pair(of).Median }
	worst := func(of func(*sim.Result) float64) num { return pair(of).Worst }
	r := Record{
		Scenario: row.Scenario, Policy: row.Policy, Seeds: len(list), Linear: num(row.Linear),
		RMS: pair(func(r *sim.Result) float64 { return r.RMS }), P99: mid(func(r *sim.Result) float64 { return r.P99 }),
		Max: worst(func(r *sim.Result) float64 { return r.Max }), RMSFreq: mid(func(r *sim.Result) float64 { return r.RMSFreq }),
		Delay: mid(func(r *sim.Result) float64 { return r.Delay }), Packets: mid(func(r *sim.Result) float64 { return float64(r.Packets) }),
		Steps: worst(func(r *sim.Result) float64 { return float64(r.Steps) }), Bound: pair(func(r *sim.Result) float64 { return r.Bound }),
		Excess: worst(func(r *sim.Result) float64 { return r.Excess }),
		Oracle: rms(list, func(r *sim.Result) []float64 { return []float64{r.OracleRMS} }, 0),
	}
	for i := range list {
		r.Seconds, r.Uncovered = r.Seconds+list[i].Served, r.Uncovered+list[i].Uncovered
		r.Within1, r.Within3 = r.Within1+list[i].Within1, r.Within3+list[i].Within3
		if list[i].Stopped != "" {
			r.Stopped++
		}
	}
	var settle, last [3]Pair
	for i := range settle {
		settle[i] = pair(func(r *sim.Result) float64 { return never(r.Settle[i]) })
		last[i] = pair(func(r *sim.Result) float64 { return r.Last[i] })
	}
	switch row.Kind {
	case "converge":
		r.Start = &Start{
			Settle: settle, Last: last, Overshoot: pair(func(r *sim.Result) float64 { return r.Overshoot }),
			Packets60:  worst(func(r *sim.Result) float64 { return float64(r.Packets60) }),
			Packets400: worst(func(r *sim.Result) float64 { return float64(r.Packets400) }),
		}
	case "event":
		r.Event = &Event{
			Settle: settle, Last: last, Peak: pair(func(r *sim.Result) float64 { return r.Peak }),
			PeakAt: mid(func(r *sim.Result) float64 { return r.PeakAt }), Hour: mid(func(r *sim.Result) float64 { return r.RMSHour }),
			Late: mid(func(r *sim.Result) float64 { return r.RMSLate }),
		}
	case "holdover":
		r.Hold = &Hold{}
		for i := range r.Hold.RMS {
			r.Hold.RMS[i] = rms(list, func(r *sim.Result) []float64 { return r.Hold }, i)
			r.Hold.Oracle[i] = rms(list, func(r *sim.Result) []float64 { return r.OracleHold }, i)
		}
	}
	return r
}

// rms is the root mean square over the runs of one of several figures; 0 if they have none.
func rms(list []sim.Result, of func(*sim.Result) []float64, i int) num {
	sum := 0.
	for k := range list {
		if v := of(&list[k]); v != nil {
			sum += v[i] * v[i]
		}
	}
	return num(math.Sqrt(sum / float64(len(list))))
}

// unsettled stands for a time that never came, so that it is the worst.
const unsettled = 1e9

func never(t float64) float64 {
	if t < 0 {
		return unsettled
	}
	return t
}

// encode writes rows, one a line.
func encode(rows []Record) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i := range rows {
		text, err := json.Marshal(&rows[i])
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", rows[i].Scenario, err)
		}
		b.Write(text)
		if i < len(rows)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return b.Bytes(), nil
}

// decode reads what encode wrote.
func decode(text []byte) ([]Record, error) {
	var rows []Record
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, fmt.Errorf("parse results: %w", err)
	}
	return rows, nil
}
