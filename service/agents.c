#include "base/clock.h"
#include "base/mem.h"
#include "service/calls.h"
#include "service/jsonout.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"

#include <stdlib.h>
#include <string.h>

/* ---- Leases */

struct extending {
	struct request *request;
	int64_t now_ms;
	int64_t due_ms;
	struct buf out;
};

/* "ok" when the receipt is that of a lease that lasts; 1 ok, 0 lost. */
static int extend_one(struct extending *extending, const char *receipt, struct error *err)
{
	struct store *store = extending->request->service->store;
	const struct token *token = &extending->request->token;
	struct command command;
	char id[UUID_TEXT_SIZE];
	uint8_t bytes[RECEIPT_SIZE];
	if (receipt_read(receipt, id, bytes, NULL) < 0)
		return 0;
	int rc = store_command_find(store, token->org, id, &command, err);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	if (strcmp(command.target, token->agent) != 0 || !receipt_is(&command, bytes))
		return 0;
	rc = store_extend(store, &command, extending->due_ms, err);
	return rc < 0 ? rc : 1;
}

static int extend_all(struct extending *extending, struct span receipts, struct error *err)
{
	char receipt[RECEIPT_TEXT_SIZE];
	struct span value;
	struct span_cursor cursor = span_begin(receipts);
	out_open(&extending->out, NULL, '{');
	out_open(&extending->out, "results", '[');
	while (span_next(&cursor, NULL, &value)) {
		int rc = 0;
		if (span_text(value, receipt, sizeof receipt, NULL) == 0)
			rc = extend_one(extending, receipt, err);
		if (rc < 0)
			return rc;
		out_open(&extending->out, NULL, '{');
		out_span(&extending->out, "receipt", value);
		out_text(&extending->out, "result", rc > 0 ? "ok" : "lost");
		out_close(&extending->out, '}');
	}
	out_close(&extending->out, ']');
	out_close(&extending->out, '}');
	return 0;
}

void on_extend(struct request *request)
{
	struct span object, receipts;
	struct problems problems = PROBLEMS_INIT;
	struct error err;
	int64_t lease_seconds = 60;
	if (call_is_own_queue(request) < 0 || call_object(request, &object) < 0)
		return;
	call_array(object, "receipts", "receipts", &receipts, &problems);
	call_number(object, "leaseSeconds", 10, 3600, &lease_seconds, &problems);
	int rc = call_check(request, &problems);
	problems_release(&problems);
	if (rc < 0)
		return;
	struct extending extending = {
	    .request = request,
	    .now_ms = clock_now_ms(),
	    .out = BUF_INIT(16 * 1024 * 1024),
	};
	extending.due_ms = extending.now_ms + lease_seconds * 1000;
	if (extend_all(&extending, receipts, &err) < 0)
		request_fail_store(request, &err);
	else
		request_answer(request, MHD_HTTP_OK, &extending.out);
	service_note_due(request->service, extending.due_ms);
	buf_release(&extending.out);
}

/* ---- What TDP's agents ask at their start, and their heartbeat */

/* The agentId in the body must be the token's: a token knows one agent only. */
static int read_agent(struct request *request)
{
	char agent[TARGET_MAX + 1] = "";
	struct span object;
	struct error err;
	if (call_object(request, &object) < 0)
		return ERR_INVALID;
	if (span_text(span_member(object, "agentId"), agent, sizeof agent, &err) < 0) {
		request_fail(request, MHD_HTTP_BAD_REQUEST, "agentId %s", err.message);
		return ERR_INVALID;
	}
	if (strcmp(agent, request->token.agent) != 0) {
		request_fail(request, MHD_HTTP_NOT_FOUND, "Source with source ID %s does not exist",
			     agent);
		return ERR_NOT_FOUND;
	}
	return 0;
}

void on_agent_config(struct request *request)
{
	const struct token *token = &request->token;
	struct buf out = BUF_INIT(16 * 1024);
	if (read_agent(request) < 0)
		return;
	char *log_group = mem_printf("/agents/%s/%s", token->org, token->agent);
	out_open(&out, NULL, '{');
	out_text(&out, "orgSlug", token->org);
	out_text(&out, "integrationId", token->agent);
	out_text(&out, "agentId", token->agent);
	out_text(&out, "agentName", token->agent);
	out_text(&out, "region", "local");
	out_null(&out, "bucket");
	out_null(&out, "streamBucket");
	out_null(&out, "backupBucket");
	out_null(&out, "kmsKey");
	out_text(&out, "integrationType", "user_defined");
	out_open(&out, "metadata", '{');
	out_close(&out, '}');
	out_open(&out, "tags", '[');
	out_close(&out, ']');
	out_text(&out, "logGroupName", log_group);
	out_null(&out, "rpcSourceQueueUrl"); /* this service has no queues: agents ask it */
	out_null(&out, "rpcPlatformQueueUrl");
	out_close(&out, '}');
	free(log_group);
	request_answer(request, MHD_HTTP_OK, &out);
}

void on_agent_status(struct request *request)
{
	struct buf out = BUF_INIT(4 * 1024);
	if (read_agent(request) < 0)
		return;
	out_open(&out, NULL, '{');
	out_text(&out, "agentName", request->token.agent);
	out_close(&out, '}');
	request_answer(request, MHD_HTTP_OK, &out);
}
