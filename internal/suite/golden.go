package suite

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// updating makes Golden write what they would compare with: look at the difference before it is committed.
const updating = "UPDATE_GOLDEN"

// Golden compares got with the file, or writes it.
func Golden(t testing.TB, path, got string) {
	t.Helper()
	if os.Getenv(updating) != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (want, got), written anew with %s=1:\n%s", path, updating, d)
	}
}
