package sdk

// Decode is for the fuzzer.
var Decode = decode
