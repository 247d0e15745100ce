// Package mirror keeps local tables in step with Pipedrive: by the events that webhooks bring, by reading all
// there is, and by comparing the two. It asks the API through core/pipedrive and knows no HTTP.
package mirror
