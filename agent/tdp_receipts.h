/* Calls about deliveries, by their receipts, ten at a time: DeleteMessageBatch, which is
 * repeated until the queue has forgotten them, and ChangeMessageVisibilityBatch, which is not,
 * because the next one comes soon. */
#ifndef AGENT_TDP_RECEIPTS_H
#define AGENT_TDP_RECEIPTS_H

#include "agent/tdp_lane.h"

struct tdp_receipts;

struct tdp_receipts *tdp_deletes_new(struct loop *loop, struct source *source, struct sqs *sqs,
				     const struct tdp_pace *pace);
/* on_lost: the queue does not know this receipt any more. on_extended: all that were added
 * since the last one have been, or those that were left are given up because of outcome. */
struct tdp_receipts *tdp_extensions_new(
    struct loop *loop, struct sqs *sqs, int64_t seconds,
    void (*on_lost)(void *context, const char *receipt),
    void (*on_extended)(void *context, const struct transport_outcome *outcome), void *context);
void tdp_receipts_free(struct tdp_receipts *receipts);

/* NULL: none, what comes waits. Borrowed. */
void tdp_receipts_set_queue(struct tdp_receipts *receipts, const char *queue_url);
void tdp_receipts_add(struct tdp_receipts *receipts, const char *text);
/* Nothing waits and nothing is under way. */
bool tdp_receipts_is_idle(const struct tdp_receipts *receipts);

#endif
