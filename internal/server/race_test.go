//go:build race

package server

// raceDetector makes counts smaller where each step costs ten times as much.
const raceDetector = true
