package poolmonitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxStored is the largest file of scores, in bytes, that is written or read.
const MaxStored = 16 << 20

const (
	storeVersion = 1
	// oldest is the age at which what was stored tells nothing any more.
	oldest = 24 * time.Hour
)

// stored is the file. Times are Unix seconds, offsets microseconds.
type stored struct {
	Version int            `json:"version"`
	Saved   int64          `json:"saved"`
	Members []storedMember `json:"members"`
}

type storedMember struct {
	ID    string       `json:"id"`
	Views []storedView `json:"views"`
}

type storedView struct {
	Family string     `json:"family"`
	State  string     `json:"state"`
	Reason string     `json:"reason,omitempty"`
	Liar   bool       `json:"clock_wrong,omitempty"`
	Since  int64      `json:"since"`
	Score  float64    `json:"score"`
	Slot   int64      `json:"last_slot,omitempty"` // number of the last one of Slots
	Slots  [][4]int64 `json:"slots,omitempty"`     // score, offset, probes, failures
}

// Store returns what is to outlive a restart. Beyond MaxStored the histories are left out.
func (m *Monitor) Store(now time.Time) ([]byte, error) {
	file := stored{Version: storeVersion, Saved: now.Unix(), Members: []storedMember{}}
	for _, o := range m.members {
		s := storedMember{ID: o.id}
		for f := range Families {
			if o.wanted[f] {
				s.Views = append(s.Views, o.views[f].stored(f))
			}
		}
		file.Members = append(file.Members, s)
	}
	data, err := json.Marshal(file)
	if err == nil && len(data) > MaxStored {
		for i := range file.Members {
			for j := range file.Members[i].Views {
				file.Members[i].Views[j].Slots = nil
			}
		}
		data, err = json.Marshal(file)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode scores: %w", err)
	case len(data) > MaxStored:
		return nil, errors.New("encode scores: too many time sources")
	}
	return append(data, '\n'), nil
}

// stored is the entry of a view.
func (v *view) stored(f Family) storedView {
	s := storedView{
		Family: f.String(), State: v.state.String(), Reason: v.reason, Liar: v.liar, Since: v.since.Unix(), Score: math.Round(v.score*100) / 100,
		Slot: v.history.last,
	}
	for i := max(0, v.history.last-slots+1); v.history.ring != nil && i <= v.history.last; i++ {
		if slot := v.history.ring[i%slots]; slot.Probes > 0 || s.Slots != nil {
			s.Slots = append(s.Slots, [4]int64{int64(slot.Score), slot.Offset.Microseconds(), int64(slot.Probes), int64(slot.Failures)})
		}
	}
	return s
}

// Restore takes over what was stored, for members that are on the list; those that are not stored are new. Scores have
// faded by the time that has passed; verdicts older than an hour are forgotten, and all of a day or from the future
// is. Nothing is taken over with an error, which says what is wrong with the content.
func (m *Monitor) Restore(now time.Time, data []byte) error {
	var file stored
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("decode scores: %w", err)
	}
	if file.Version != storeVersion {
		return fmt.Errorf("decode scores: version %d, want %d", file.Version, storeVersion)
	}
	for i := range file.Members {
		for j := range file.Members[i].Views {
			if err := file.Members[i].Views[j].check(); err != nil {
				return fmt.Errorf("decode scores of time source %d: %w", i+1, err)
			}
		}
	}
	age := now.Sub(time.Unix(file.Saved, 0))
	if age < -time.Minute || age > oldest || len(file.Members) == 0 {
		return nil
	}
	age = max(age, 0)
	found := map[*member]bool{}
	for i := range file.Members {
		o := m.byID[file.Members[i].ID]
		if o == nil {
			continue
		}
		found[o] = true
		for j := range file.Members[i].Views {
			file.Members[i].Views[j].restore(o, now, age)
		}
	}
	for _, o := range m.members {
		for f := range Families {
			if !found[o] && age <= forgetAfter {
				o.views[f].set(now, Probation, "new")
			}
		}
	}
	m.seasoned = true
	return nil
}

// family and state are the values of the words.
func (s *storedView) family() (Family, bool) {
	for f := range Families {
		if s.Family == f.String() {
			return f, true
		}
	}
	return 0, false
}

func (s *storedView) state() (State, bool) {
	for i := range states {
		if s.State == i.String() {
			return i, true
		}
	}
	return 0, false
}

// check refuses what no Monitor has written.
func (s *storedView) check() error {
	_, family := s.family()
	_, state := s.state()
	switch {
	case !family:
		return errors.New("unknown family")
	case !state:
		return errors.New("unknown state")
	case !(s.Score >= scoreLeast && s.Score <= scoreMost):
		return errors.New("score out of range")
	case len(s.Slots) > slots || s.Slot < 0:
		return errors.New("history out of range")
	case len(s.Reason) > 200:
		return errors.New("reason too long")
	}
	for _, slot := range s.Slots {
		if slot[0] < int64(scoreLeast) || slot[0] > int64(scoreMost) || slot[2] < 0 || slot[3] < 0 || slot[3] > slot[2] ||
			slot[2] > math.MaxInt32 || slot[1] > math.MaxInt32*1000 || slot[1] < -math.MaxInt32*1000 {
			return errors.New("history out of range")
		}
	}
	return nil
}

// restore fills in the view that the entry is of.
func (s *storedView) restore(o *member, now time.Time, age time.Duration) {
	f, _ := s.family()
	v := &o.views[f]
	v.score, v.counted = faded(s.Score, age), now.Add(-age)
	if age <= forgetAfter {
		v.state, _ = s.state()
		v.reason, v.liar = s.Reason, s.Liar
	}
	if v.since = time.Unix(s.Since, 0); v.since.After(now) {
		v.since = now
	}
	if len(s.Slots) == 0 || s.Slot > now.Unix()/int64(SlotTime/time.Second) {
		return
	}
	v.history.ring, v.history.last = make([]Slot, slots), s.Slot
	for i, slot := range s.Slots {
		n := s.Slot - int64(len(s.Slots)-1-i)
		if n >= 0 {
			v.history.ring[n%slots] = Slot{
				Score: int8(slot[0]), Offset: time.Duration(slot[1]) * time.Microsecond, Probes: int(slot[2]), Failures: int(slot[3]),
			}
		}
	}
}

// faded is a score that nothing has supported for so long.
func faded(score float64, age time.Duration) float64 {
	return score * math.Exp2(-float64(age)/float64(halfLife))
}
