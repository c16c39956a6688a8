/* One HTTP request, from its first line to the last byte of its answer. It belongs to the
 * server, which frees it when libmicrohttpd is through with it; handlers only look at it
 * and answer it, exactly once, at once or later. */
#ifndef SERVICE_REQUEST_H
#define SERVICE_REQUEST_H

#include "base/buf.h"
#include "base/json.h"
#include "service/alarm.h"
#include "service/store.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	REQUEST_SEGMENTS_MAX = 8,
	REQUEST_PARAMETERS_MAX = 2,
};

struct service;
struct route;

enum request_phase {
	REQUEST_HEAD,      /* line and headers are coming */
	REQUEST_BODY,      /* the body is coming (and thrown away once there is an answer) */
	REQUEST_READY,     /* whole: its handler may run */
	REQUEST_WAITING,   /* suspended by its handler: a long poll, a delay, a worker */
	REQUEST_HELD,      /* answered, and suspended until the turn is committed */
	REQUEST_ANSWERING, /* the answer is on its way */
};

/* What a handler keeps for a request: embedded in a struct of its own. */
struct request_state {
	/* was_sent: the whole answer went out. Called once, when the request is over. */
	void (*end)(struct request_state *state, bool was_sent);
};

struct request {
	TAILQ_ENTRY(request) link; /* all of the server's */
	TAILQ_ENTRY(request) held_link;
	struct service *service;
	struct MHD_Connection *connection;
	enum request_phase phase;
	const struct route *route;
	char method[8];
	char *target;                         /* as it came, without the query */
	char *segments[REQUEST_SEGMENTS_MAX]; /* of the path, decoded */
	size_t segment_count;
	const char *parameters[REQUEST_PARAMETERS_MAX]; /* those that the route names */
	struct token token;
	struct buf body;
	uint64_t body_bytes; /* that came in */
	int64_t begun_ms;
	unsigned status; /* 0: not answered yet */
	struct MHD_Response *response;
	uint64_t answer_bytes;    /* of the answer, in memory, until the request is over */
	int64_t delay_ms;         /* the answer must be slowed by this */
	struct alarm_entry alarm; /* free for whoever makes it wait */
	struct request_state *state;
};

/* ---- For handlers */

/* The header's value, NULL where it is absent. */
const char *request_header(const struct request *request, const char *name);

/* Takes body's bytes; body is then empty. */
void request_answer(struct request *request, unsigned status, struct buf *body);
/* Takes value. */
void request_answer_json(struct request *request, unsigned status, struct json_object *value);
/* Takes response, which has its headers and so many bytes of memory for its body. */
void request_answer_with(struct request *request, unsigned status, struct MHD_Response *response,
			 size_t bytes);
/* How large an answer may be that is max at most: less where many large ones are on their way
 * already, because who does not read them could fill the memory. Small ones always have room.
 * For calls that nothing is lost with; others ask before they change anything, or not at all. */
size_t request_room(const struct request *request, size_t max);
/* 503: the answer is larger than its room. */
void request_fail_room(struct request *request);
/* {statusCode, error, message}: what was wrong and what to do. */
void request_fail(struct request *request, unsigned status, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* 503 for a failure of the store; anything a handler cannot go on from. */
void request_fail_store(struct request *request, const struct error *err);
/* Takes an answer back that was not sent yet. */
void request_unanswer(struct request *request);

/* Suspends the request: until request_wake(), after which its handler runs again unless it
 * has an answer by then. */
void request_wait(struct request *request);
void request_wake(struct request *request);
/* Answers a waiting request in the turn that is under way; it goes out once that is stored. */
void request_hold(struct request *request);

/* The client has closed its end: nobody would read an answer. */
bool request_is_abandoned(const struct request *request);

/* Appends "https://host:port", how this client reaches the service. ERR_INVALID where the
 * Host header is no host. */
NODISCARD int request_base_url(const struct request *request, struct buf *out, struct error *err);

/* The reason phrase of a status: "Not Found". */
const char *http_reason(unsigned status);

#endif
