package main

import (
	"slices"
	"testing"
)

func TestRowIDs(t *testing.T) {
	for name, want := range map[string][]string{
		"TestC05_ZeroOrigin":                 {"C05"},
		"TestC04_C05_C06_OffPath":            {"C04", "C05", "C06"},
		"TestKC14":                           {"KC14"},
		"TestP02_P03_Members/P02_other_AEAD": {"P02", "P03", "P02"},
		"TestX01_A/C06":                      {"X01", "C06"},
		"TestRows/S03_modes":                 {"S03"},
		"TestLateC05":                        nil,
		"TestFaults_C05":                     nil,
		"TestC055_NotARow":                   nil,
	} {
		if got := rowIDs(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := parent("TestC04_C05_OffPath/x", "C05"); got != "TestC04_C05_OffPath" {
		t.Error(got)
	}
}
