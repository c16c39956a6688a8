/* Calls to Amazon SQS in its JSON protocol, signed, each renewed once with other keys when the
 * queue refuses those that it was signed with. */
#ifndef AGENT_SQS_H
#define AGENT_SQS_H

#include "agent/http.h"
#include "agent/sigv4.h"
#include "agent/tdp_credentials.h"
#include "agent/transport.h"

#include <json-c/json.h>

enum { SQS_BATCH_MAX = 10, SQS_MESSAGE_MAX = 262144, SQS_CODE_MAX = 64 };

struct sqs {
	struct http_client *client;
	struct http_profile profile;
	struct tdp_credentials *credentials;
	char *region;
	struct sigv4 signer;
	uint64_t signer_generation; /* of the keys in signer */
};

/* settings, client and credentials are borrowed. The region comes later. */
void sqs_init(struct sqs *sqs, struct http_client *client, const struct settings *settings,
	      struct tdp_credentials *credentials);
void sqs_set_region(struct sqs *sqs, const char *region);
void sqs_release(struct sqs *sqs);

/* base.is_gone: what the call holds can never be taken. */
struct sqs_outcome {
	struct transport_outcome base;
	char code[SQS_CODE_MAX]; /* "QueueDoesNotExist"; "" where SQS has not said any */
};

/* answer is the JSON object of a success, borrowed; NULL when the outcome is not ok. */
typedef void sqs_on_answer(void *context, struct json_object *answer,
			   const struct sqs_outcome *outcome);

/* operation is "ReceiveMessage" and the like (lives on), body is taken. The call waits for keys
 * where there are none. It frees itself after the callback; sqs_cancel ends it without one. */
struct sqs_call *sqs_start(struct sqs *sqs, const char *operation, const char *queue_url,
			   struct json_object *body, int64_t timeout_ms, size_t max_answer_bytes,
			   sqs_on_answer *on_answer, void *context);
void sqs_cancel(struct sqs_call *call);
/* True: its answer is coming; the call ends with it, and is not renewed whatever it says. */
bool sqs_let_finish(struct sqs_call *call);

/* An item of a batch answer's `Failed` or `Successful`: which entry it is about, by the Id
 * that sqs_entry gave it. -1: none of ours. */
int sqs_entry_index(struct json_object *item, size_t count);
struct json_object *sqs_entry(size_t index);

/* "com.amazonaws.sqs#QueueDoesNotExist" or "QueueDoesNotExist:http://…" without what is around
 * the name. */
void sqs_code_of(const char *type, char code[SQS_CODE_MAX]);
/* Will an entry or a call that failed with this code fail again whenever it is repeated? */
bool sqs_is_lasting(const char *code);

#endif
