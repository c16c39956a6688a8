/* What a command is answered with: a status and the JSON of the status message's `body`,
 * plain or sealed. The shapes and texts of all answers are made here.
 *
 * The JSON of a large answer is in a file, and it is made in pieces, one a turn of the loop,
 * so that its size holds up nobody else. A sealed answer is enciphered as it is written: no
 * plain text of it reaches the disk. */
#ifndef AGENT_ANSWER_H
#define AGENT_ANSWER_H

#include "agent/http.h"
#include "agent/loop.h"
#include "agent/spool.h"
#include "base/error.h"
#include "crypto/aead.h"

enum answer_status { ANSWER_SUCCESS, ANSWER_FAILURE, ANSWER_REJECTED };
const char *answer_status_name(enum answer_status status);

struct answer {
	enum answer_status status;
	const char *code;    /* stable code where the target gave no answer; else NULL */
	int http_status;     /* the target's; 0: none */
	struct spool json;   /* one JSON object */
	int64_t ended_at_ms; /* when it was made: the status message's createdAt */
};

void answer_init(struct answer *answer);
void answer_release(struct answer *answer);

/* The target's answer as {"body", "statusCode", "headers"}: body is what it sent. seal (may
 * be NULL) is the key that the command opened with. on_done is called once; not from inside
 * when NULL is not returned, and then the call can be given up with answer_build_cancel.
 * response is read at once, body is borrowed until on_done. A large answer goes where body is. */
struct answer_build;
struct answer_build *answer_from_target(struct answer *answer, struct loop *loop,
					const struct http_response *response, struct spool *body,
					struct aead *seal, void (*on_done)(void *context),
					void *context);
void answer_build_cancel(struct answer_build *build);
/* FAILURE {"body": "{\"message\":…,\"code\":…}"} with the fixed words before message. */
void answer_fail(struct answer *answer, const char *code, struct aead *seal, const char *format,
		 ...) PRINTF_LIKE(4, 5);
/* The same for a target that did not answer. */
void answer_no_response(struct answer *answer, const char *code, const char *detail,
			struct aead *seal);
/* REJECTED {"message", "code"}. */
void answer_reject(struct answer *answer, const char *code, struct aead *seal, const char *message);

#endif
