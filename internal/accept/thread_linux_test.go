package accept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// threadLoop serves with one thread until the test ends; stop asks it to and returns what Serve did.
func threadLoop(t *testing.T, c Config) (addr string, loop *Loop, stop func() error) {
	t.Helper()
	c.Threads, c.Permits, c.Drain = max(c.Threads, 1), max(c.Permits, 8), 300*time.Millisecond
	loop = New(c)
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Serve(ctx, ln) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if c := loop.Counters(); c.Open != 0 || c.InUse != 0 || c.Panics != 0 {
			t.Errorf("left: %+v", c)
		}
	})
	return ln.Addr().String(), loop, stop
}

func dialTo(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

// TestThreads_OnlyThere: every handler runs on the same thread, whose niceness is the one that was asked for, however many
// connections there are and however often they wait.
func TestThreads_OnlyThere(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	note := func() {
		mu.Lock()
		defer mu.Unlock()
		nice, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err != nil {
			t.Error(err)
		}
		seen[unix.Gettid()] = 20 - nice // as the system call has it (getpriority(2))
	}
	addr, _, _ := threadLoop(t, Config{Nice: 10, Handle: func(ctx context.Context, c *Conn) {
		note()
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			note()
			_, _ = c.Write(b)
		}
	}})
	var all sync.WaitGroup
	for range 6 {
		c := dialTo(t, addr)
		all.Go(func() {
			b := make([]byte, 1)
			for range 20 {
				if _, err := c.Write(b); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(c, b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 {
		t.Errorf("%d threads: %v", len(seen), seen)
	}
	for id, nice := range seen {
		if nice != 10 || id == os.Getpid() {
			t.Errorf("thread %d has niceness %d", id, nice)
		}
	}
}

// TestThreads_LargeMessages: what fills the buffers of both sides goes through, and the end of each stream is seen.
func TestThreads_LargeMessages(t *testing.T) {
	addr, _, _ := threadLoop(t, Config{Handle: func(ctx context.Context, c *Conn) {
		all, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		if n, err := c.Write(all); n != len(all) || err != nil {
			t.Errorf("%d of %d, %v", n, len(all), err)
		}
	}})
	c := dialTo(t, addr)
	text := strings.Repeat("0123456789abcdef", 1<<19)
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); string(got) != text || err != nil {
		t.Errorf("%d of %d bytes, %v", len(got), len(text), err)
	}
}

// TestThreads_Deadlines: a deadline ends a read, a write and a wait for a turn, and is a timeout. One that has passed
// fails even where there is something to read.
func TestThreads_Deadlines(t *testing.T) {
	result, sent := make(chan error, 8), make(chan bool)
	addr, _, _ := threadLoop(t, Config{Handle: func(ctx context.Context, c *Conn) {
		_, err := c.Read(make([]byte, 1))
		result <- err
		_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
		result <- err
		_, err = c.Write(make([]byte, 64<<20))
		result <- err
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_, err = c.Read(make([]byte, 1))
		result <- err
		result <- c.Park(time.Now().Add(20 * time.Millisecond))
		_ = c.SetReadDeadline(time.Time{})
		if !c.Sleep(ctx, 10*time.Millisecond) {
			result <- errors.New("asleep")
		}
		result <- nil
		<-sent
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_, err = c.Read(make([]byte, 1)) // although there is something to read
		result <- err
	}})
	c := dialTo(t, addr)
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	for i, timeout := range []bool{false, true, true, true, true, false, true} {
		if i == 6 {
			_, _ = c.Write([]byte{2})
			close(sent)
		}
		if err := <-result; (err != nil) != timeout || timeout && !IsTimeout(err) {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// TestThreads_EventsCount: what arrives is found by the next read, whether it came before the connection was looked at, while it waited
// for something else, or together with the end of the stream; and no read is tried that finds nothing for sure.
func TestThreads_EventsCount(t *testing.T) {
	const limit = 5 * time.Second
	step, result := make(chan bool), make(chan string, 8)
	addr, _, _ := threadLoop(t, Config{Timeout: limit, Handle: func(ctx context.Context, c *Conn) {
		tc := c.threaded()
		b := make([]byte, 4)
		read := func() {
			n, err := c.Read(b)
			result <- fmt.Sprintf("%q %v empty %v", b[:n], err, tc.empty)
		}
		read()
		result <- "asleep"
		c.Sleep(ctx, 20*time.Millisecond) // the next one arrives now
		read()
		<-step // the thread stands still: the next ones arrive together with the end
		read()
		read()
	}})
	c := dialTo(t, addr)
	expect := func(want string) {
		t.Helper()
		if got := <-result; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	write := func(s string) {
		t.Helper()
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	write("abc")
	expect(`"abc" <nil> empty true`)
	expect("asleep")
	write("defg") // as much as the buffer holds: there may be more
	expect(`"defg" <nil> empty false`)
	write("hi")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	step <- true
	expect(`"hi" <nil> empty true`)
	expect(`"" EOF empty false`)
}

// TestThreads_EndAtOnce: a stream that has ended before it is looked at is read to its end.
func TestThreads_EndAtOnce(t *testing.T) {
	standing, step, result := make(chan bool), make(chan bool), make(chan string, 2)
	addr, _, _ := threadLoop(t, Config{Timeout: 5 * time.Second, Handle: func(ctx context.Context, c *Conn) {
		b := make([]byte, 4)
		n, err := c.Read(b)
		if b[0] == 's' {
			close(standing)
			<-step
			return
		}
		m, end := c.Read(b[n:])
		result <- fmt.Sprint(n, err, m, end)
	}})
	first, second := dialTo(t, addr), dialTo(t, addr)
	_, _ = first.Write([]byte("s"))
	<-standing
	if _, err := second.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := second.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(step)
	if got, want := <-result, fmt.Sprint(1, nil, 0, io.EOF); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestThreads_Crowd: one connection is taken when there is one, and all that wait where there was one at the last look, too.
func TestThreads_Crowd(t *testing.T) {
	loop := New(Config{Threads: 1, Permits: 8, Handle: func(context.Context, *Conn) {}})
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	th, err := loop.openThread(t.Context(), raw, ln.Addr(), &handlers)
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()
	defer th.strands.close()
	there := []unix.EpollEvent{{Events: unix.EPOLLIN, Fd: int32(th.listener)}}
	accepted := uint64(0)
	for i, row := range []struct {
		dial   int // connections before the look
		events []unix.EpollEvent
		take   uint64
	}{{4, there, 1}, {0, there, 3}, {0, nil, 0}, {3, there, 1}, {0, nil, 0}, {0, there, 1}, {0, there, 1}} {
		for range row.dial {
			dialTo(t, ln.Addr().String())
		}
		th.look(row.events, time.Now())
		if accepted += row.take; loop.Counters().Accepted != accepted {
			t.Fatalf("look %d: %d accepted, want %d", i, loop.Counters().Accepted, accepted)
		}
	}
	handlers.Wait()
}

// TestThreads_TakenAway: a connection that makes room, and one that is left when the time to drain is over, end at once
// whatever they wait for, and their handlers know.
func TestThreads_TakenAway(t *testing.T) {
	for name, wait := range map[string]func(c *Conn) error{
		"reading": func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"in line": func(c *Conn) error { return c.Park(time.Time{}) },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 20)
			begun := make(chan bool, 20)
			addr, loop, stop := threadLoop(t, Config{PerPrefix: 1, Handle: func(ctx context.Context, c *Conn) {
				begun <- true
				err := wait(c)
				if !c.Evicted() {
					t.Error("nobody took it away")
				}
				ended <- err
			}})
			first := dialTo(t, addr)
			<-begun
			dialTo(t, addr)
			<-begun
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("made room: %v", err)
			}
			if _, err := first.Read(make([]byte, 1)); err == nil || IsTimeout(err) {
				t.Errorf("the peer: %v", err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("drained: %v", err)
			}
			if c := loop.Counters(); c.Accepted != 2 || c.Evicted != 1 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestThreads_Patient: the end of the context ends the reads of those who wait for a peer that may be silent, and of no others.
func TestThreads_Patient(t *testing.T) {
	begun, result := make(chan bool, 2), make(chan error, 2)
	addr, _, stop := threadLoop(t, Config{Handle: func(ctx context.Context, c *Conn) {
		b := make([]byte, 1)
		if _, err := c.Read(b); err != nil {
			t.Error(err)
		}
		if b[0] == 'p' {
			defer c.Patient(ctx)()
		}
		begun <- true
		_, err := c.Read(b)
		if (b[0] == 'p') != IsTimeout(err) {
			t.Errorf("%c: %v", b[0], err)
		}
		result <- err
	}})
	for _, what := range "pq" {
		c := dialTo(t, addr)
		_, _ = c.Write([]byte{byte(what)})
		<-begun
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	<-result
	<-result
}

// TestThreads_End: gathered writes and the end of our stream are one segment; sent is called before the peer sees them.
func TestThreads_End(t *testing.T) {
	sent := make(chan bool, 1)
	addr, _, _ := threadLoop(t, Config{Handle: func(ctx context.Context, c *Conn) {
		c.Gather()
		_, _ = c.Write([]byte("one, "))
		_, _ = c.Write([]byte("two"))
		if err := c.End(time.Now().Add(time.Second), func() { sent <- true }); err != nil {
			t.Error(err)
		}
		Discard(c, time.Time{})
	}})
	c := dialTo(t, addr)
	b := make([]byte, 100)
	n, err := c.Read(b)
	if string(b[:n]) != "one, two" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	select {
	case <-sent:
	default:
		t.Error("seen before it was counted")
	}
	if _, err := c.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
}

// TestThreads_Panic: one bug takes down one connection.
func TestThreads_Panic(t *testing.T) {
	addr, loop, stop := threadLoop(t, Config{Handle: func(ctx context.Context, c *Conn) {
		b := make([]byte, 1)
		_, _ = c.Read(b)
		if b[0] == 'x' {
			panic("a bug")
		}
		_, _ = c.Write(b)
	}})
	for _, row := range []string{"x", "y"} {
		c := dialTo(t, addr)
		_, _ = io.WriteString(c, row)
		if got, _ := io.ReadAll(c); (row == "y") != (string(got) == row) {
			t.Errorf("%s: %q", row, got)
		}
	}
	if err := stop(); err != nil || loop.panics.Load() != 1 {
		t.Errorf("%v, %d panics", err, loop.panics.Load())
	}
	loop.panics.Store(0) // for the look at the end
}

// TestThreads_WhatWaitsIsServed: connections that wait to be accepted when the loop is asked to stop are served.
func TestThreads_WhatWaitsIsServed(t *testing.T) {
	first := make(chan *thread)
	hold := make(chan bool)
	addr, _, stop := threadLoop(t, Config{Handle: func(ctx context.Context, c *Conn) {
		b := make([]byte, 1)
		_, _ = c.Read(b)
		if b[0] == '0' { // what comes next is an event of this connection, not of the listener
			_, _ = c.Write(b)
			_, _ = c.Read(b)
		}
		if b[0] == '1' {
			first <- c.threaded().t
			<-hold // the thread is busy
		}
		_, _ = c.Write(b)
	}})
	one := dialTo(t, addr)
	_, _ = io.WriteString(one, "0")
	if _, err := io.ReadFull(one, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(one, "1")
	th := <-first
	two := dialTo(t, addr)
	_, _ = io.WriteString(two, "2")
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	for told := false; !told; runtime.Gosched() { // else it is served because nothing has stopped yet
		th.mu.Lock()
		told = th.stopping
		th.mu.Unlock()
	}
	close(hold)
	if got, err := io.ReadAll(two); string(got) != "2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestThreads_GatherApart: connections of one thread that gather at the same time do not share memory; one after the other, they
// do, unless it has become too much to keep.
func TestThreads_GatherApart(t *testing.T) {
	th := &thread{}
	gather := func(text string) *Conn {
		c := &Conn{Conn: &threadConn{t: th}}
		c.Gather()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	end := func(c *Conn) { c.threaded().giveBack(c.gathered) }
	one, two := gather("one"), gather("two")
	if string(one.gathered) != "one" || string(two.gathered) != "two" {
		t.Fatalf("%q, %q", one.gathered, two.gathered)
	}
	end(two)
	three := gather("three")
	if &three.gathered[0] != &two.gathered[0] {
		t.Error("memory that nobody has is not used")
	}
	four := gather("four")
	if string(one.gathered) != "one" || string(three.gathered) != "three" || string(four.gathered) != "four" {
		t.Fatalf("%q, %q, %q", one.gathered, three.gathered, four.gathered)
	}
	end(three)
	long := gather(strings.Repeat("x", mostGathered+1))
	end(long)
	if th.gathered != nil {
		t.Error("what was too much is kept")
	}
}
