//go:build race

package mirror_test

// raceOn says that everything takes several times as long.
const raceOn = true
