/* Ceilings that are not settings: each is a place where a peer could otherwise make us
 * take memory without end. */
#ifndef AGENT_LIMITS_H
#define AGENT_LIMITS_H

#define LIMIT_MIB ((size_t)1024 * 1024)

/* A command's body that was stored elsewhere (bodyUrl), and a receive answer: the service
 * sends 32 MiB, or one command of 10 MB with its JSON around it. */
#define LIMIT_FETCHED_BODY_BYTES   (32 * LIMIT_MIB)
#define LIMIT_RECEIVE_BYTES        (48 * LIMIT_MIB)
#define LIMIT_SERVICE_ANSWER_BYTES (1 * LIMIT_MIB)
/* Of an answer's headers, with its status lines and trailers. */
#define LIMIT_ANSWER_HEADER_BYTES (LIMIT_MIB / 4)

/* Of memory for the values of one command, payload or body: 10 MB of text are 40 to 400 MB of
 * values where they are numbers or small objects. */
#define LIMIT_PARSED_BYTES (512 * LIMIT_MIB)

enum {
	LIMIT_HEADERS = 256,        /* in one request to a target */
	LIMIT_ANSWER_HEADERS = 256, /* … and in its answer: libcurl looks for each in all others */
	LIMIT_FORM_PARTS = 10000,   /* rows of formdata or urlencoded */
	LIMIT_REDIRECTS = 1000,     /* what a requestor may ask for */
	LIMIT_HELD_COMMANDS = 10000,  /* beyond those in flight: waiting for a busy target */
	LIMIT_RECEIVE_COMMANDS = 100, /* asked for in one poll */
	LIMIT_LOGGED_PATH = 200,      /* bytes of a path in the log */
	LIMIT_SHOWN_NAME = 200, /* … of what a command names, in the message that refuses it */
	LIMIT_ID_BYTES = 1024,  /* of a commandId or a targetId: answers repeat them */
	LIMIT_RECEIPT_BYTES = 16 * 1024, /* those of SQS are about 1,024 long */
};

#endif
