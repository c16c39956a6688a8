/* A command as JSON: as requestors see it, as agents get it, and its history. Names and
 * order of the fields are the public Command API's. */
#ifndef SERVICE_RECORD_H
#define SERVICE_RECORD_H

#include "service/request.h"
#include "service/store.h"

enum {
	RESPONSE_INLINE_MAX = 10 * 1024 * 1024, /* a larger answer gets a URL of its own */
	PAYLOAD_DEPTH_MAX = 60, /* so that what wraps it stays within JSON_DEPTH_MAX */
	RECEIPT_TEXT_SIZE = UUID_TEXT_SIZE + 1 + 2 * RECEIPT_SIZE,
};

/* base_url: see request_base_url(). Failures stay in out. */
void record_write(struct buf *out, const struct command *command, const struct command_texts *texts,
		  const char *base_url);
void history_write(struct buf *out, const struct command *command);
void delivery_write(struct buf *out, const struct store *store, const struct command *command,
		    const struct command_texts *texts, const char *base_url);

/* Reads the command's texts and appends its record. */
NODISCARD int record_append(struct buf *out, struct store *store, const struct command *command,
			    const char *base_url, struct error *err);

void receipt_write(const struct command *command, char text[RECEIPT_TEXT_SIZE]);
/* Takes a receipt apart; ERR_INVALID where it is none of ours. */
NODISCARD int receipt_read(const char *text, char command_id[UUID_TEXT_SIZE],
			   uint8_t receipt[RECEIPT_SIZE], struct error *err);
/* In constant time. */
bool receipt_is(const struct command *command, const uint8_t receipt[RECEIPT_SIZE]);

#endif
