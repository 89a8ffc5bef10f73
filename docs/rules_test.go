package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	ruleCited   = regexp.MustCompile(`docs/rules/([a-z-]+\.md)(?:#([a-z0-9-]+))?`)
	ruleAnchor  = regexp.MustCompile(`(?m)^### ([a-z0-9-]+)$`)
	goComment   = regexp.MustCompile(`(?:^|[^:"` + "`" + `])//(.*)$`)
	document    = regexp.MustCompile(`[\w./-]*\b[\w-]+\.md\b`)
	rowCited    = regexp.MustCompile(`\b(?:KC|KS|[CSNPKFXL])\d\d\b`)
	rowListed   = regexp.MustCompile(`(?m)^([A-Z]{1,2}\d\d)\t`)
	caseOfOther = regexp.MustCompile(`\bD3-\d+|\bD3_\d+|\breliability (?:row|\d)`)
)

// texts are the repository's own files that may cite a rule, by path from its top.
func texts(t *testing.T) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && (name == ".git" || name == "build" || name == "bin" || name == "fuzz"):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".md", ".sh", ".toml", ".txt", ".5", ".8"}, filepath.Ext(name)) && name != "Makefile":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		list[rel] = string(b)
		return err
	})
	if err != nil || len(list) < 100 {
		t.Fatalf("%d files: %v", len(list), err)
	}
	return list
}

// TestCitations checks that every rule, document and acceptance row that is cited exists: rules in all files, documents
// and rows in Go's comments.
func TestCitations(t *testing.T) {
	files := texts(t)
	anchors, documents, rows := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for path, text := range files {
		if filepath.Ext(path) == ".md" {
			documents[filepath.Base(path)] = true
		}
		if filepath.Dir(path) == "docs/rules" {
			for _, m := range ruleAnchor.FindAllStringSubmatch(text, -1) {
				anchor := filepath.Base(path) + "#" + m[1]
				if anchors[anchor] {
					t.Errorf("docs/rules/%s is there twice", anchor)
				}
				anchors[anchor] = true
			}
		}
	}
	for _, m := range rowListed.FindAllStringSubmatch(files["testdata/acceptance.txt"], -1) {
		rows[m[1]] = true
	}
	if len(anchors) == 0 || len(rows) == 0 {
		t.Fatalf("%d rules, %d rows", len(anchors), len(rows))
	}
	documents["scorecard.md"] = true // by make scorecard
	cited := 0
	for path, text := range files {
		for _, m := range ruleCited.FindAllStringSubmatch(text, -1) {
			if cited++; !documents[m[1]] || m[2] != "" && !anchors[m[1]+"#"+m[2]] {
				t.Errorf("%s cites %s, which does not exist", path, m[0])
			}
		}
		if filepath.Ext(path) != ".go" || path == "docs/rules_test.go" {
			continue
		}
		for line := range strings.Lines(text) {
			comment := goComment.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if comment == nil {
				continue
			}
			for _, d := range document.FindAllString(comment[1], -1) {
				if !documents[filepath.Base(d)] {
					t.Errorf("%s: %s is not in the repository", path, d)
				}
			}
			for _, id := range rowCited.FindAllString(comment[1], -1) {
				if !rows[id] {
					t.Errorf("%s: there is no row %s", path, id)
				}
			}
			if old := caseOfOther.FindString(comment[1]); old != "" {
				t.Errorf("%s: %s is an id of a document that is not in the repository", path, old)
			}
		}
	}
	if cited < 50 {
		t.Errorf("only %d citations of rules found", cited)
	}
}
