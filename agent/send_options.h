/* The command line of `relay-agent send`, with curl's habits, as a payload. */
#ifndef AGENT_SEND_OPTIONS_H
#define AGENT_SEND_OPTIONS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

extern const char SEND_HELP[];

struct send_options {
	struct json_object *payload; /* method, url, headers, body, … */
	const char *action;
	const char *target; /* NULL: the agent of the settings */
	const char *output; /* NULL: standard output */
	int64_t ttl_seconds;
	bool is_encrypted;
	bool includes_headers; /* -i */
	bool prints_record;    /* --json */
};

/* 0, or an exit status after a message. The texts are borrowed from argv. */
int send_options_parse(struct send_options *options, int argc, char **argv);
void send_options_release(struct send_options *options);
/* Does the command line ask for --encrypt? Needed before the settings are read. */
bool send_options_encrypt(int argc, char **argv);

#endif
