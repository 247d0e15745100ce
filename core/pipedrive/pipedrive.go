// Package pipedrive is a client of Pipedrive's REST API. Every request goes through one budget, so that the
// parts of pipehook do not spend each other's share, and fails with an error that says what to do. It knows
// no webhook that arrives and keeps no records.
package pipedrive
