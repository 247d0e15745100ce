// Package message is what pipehook and the process of a script say to each other. All but this file
// is generated from message.proto.
package message
