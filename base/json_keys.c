#include "base/json_keys.h"

#include <string.h>

enum { SIZE_MIN = 2, SIZE_END = 22, OF_ONE_SIZE = 6 };

/* By their length. Those of commands, payloads and envelopes, of what the service says to a
 * status, and of a queue's messages. */
static const char *const names[SIZE_END][OF_ONE_SIZE] = {
    [2] = {"Id"},
    [3] = {"raw", "url", "tag", "key"},
    [4] = {"body", "mode", "Body"},
    [5] = {"nonce", "value"},
    [6] = {"action", "method", "accept", "result", "status"},
    [7] = {"headers", "attempt", "receipt", "timeout", "results"},
    [8] = {"targetId", "commands", "metadata", "encoding", "Messages"},
    [9] = {"commandId", "createdAt", "expiresAt", "MD5OfBody", "MessageId"},
    [10] = {"ciphertext", "Attributes"},
    [12] = {"bodyDelivery", "content-type", "Content-Type"},
    [13] = {"authorization", "Authorization", "SentTimestamp", "ReceiptHandle"},
    [20] = {"responseBodyDelivery"},
    [21] = {"responseBodyUploadUrl"},
};

const char *json_key_find(const char *text, size_t size)
{
	if (size < SIZE_MIN || size >= SIZE_END)
		return NULL;
	for (int i = 0; i < OF_ONE_SIZE && names[size][i] != NULL; i++) {
		if (memcmp(names[size][i], text, size) == 0)
			return names[size][i];
	}
	return NULL;
}
