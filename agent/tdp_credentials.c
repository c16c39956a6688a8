#include "agent/tdp_credentials.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CALL_TIMEOUT_MS = 30000,
	USUAL_LIFE_MS = 3600000, /* where the answer's own does not make sense */
	SHORTEST_RENEWAL_MS = 500,
	KEY_BYTES_MAX = 16 * 1024,
};

TAILQ_HEAD(wait_list, tdp_wait);

struct tdp_credentials {
	struct service_api *api;
	void (*on_reached)(void *context);
	void *context;
	struct sigv4_keys keys;
	uint64_t generation; /* of the keys; 0: there were none yet */
	int64_t ends_ms;     /* monotonic */
	bool is_replacement; /* fetched because of a refusal, and not accepted since */
	bool was_refused;    /* the renewal under way is because of a refusal */
	struct service_call *call;
	struct loop_timer *half_life;
	struct endpoint *renewing;
	struct wait_list waits;
};

static void renew(struct tdp_credentials *credentials);

/* Everything that waits for a generation as old as this one or older goes on. */
static void wake(struct tdp_credentials *credentials)
{
	struct wait_list ready;
	TAILQ_INIT(&ready);
	struct tdp_wait *wait = TAILQ_FIRST(&credentials->waits);
	for (struct tdp_wait *next; wait != NULL; wait = next) {
		next = TAILQ_NEXT(wait, link);
		if (wait->generation >= credentials->generation)
			continue;
		TAILQ_REMOVE(&credentials->waits, wait, link);
		wait->is_waiting = false;
		wait->on_keys(wait->context);
	}
}

/* How long the keys live. A clock that is wrong must not make us ask without end. */
static int64_t life_ms(struct json_object *answer)
{
	const char *text;
	int64_t ends_at_ms;
	struct error err;
	if (json_get_text(answer, "Expiration", &text, &err) != 0 ||
	    clock_parse(text, &ends_at_ms, &err) != 0) {
		log_warn("the credentials of the queues do not say how long they live: %s",
			 err.message);
		return USUAL_LIFE_MS;
	}
	int64_t life = ends_at_ms - clock_now_ms();
	if (life > 0)
		return life;
	log_warn("the credentials of the queues have expired %lld s before they came: is this "
		 "machine's clock right?",
		 (long long)(-life / 1000));
	return USUAL_LIFE_MS;
}

/* One member that is to be a header's value, or is made to a key. Its text is wiped. */
static int take_secret(struct json_object *answer, const char *name, struct secret *secret,
		       struct error *err)
{
	static const char zeros[KEY_BYTES_MAX];
	const char *text;
	int rc = json_get_text(answer, name, &text, err);
	if (rc != 0)
		return rc;
	size_t size = strlen(text);
	if (size == 0 || size > KEY_BYTES_MAX || strpbrk(text, "\r\n") != NULL)
		return error_set(err, ERR_INVALID, "%s: not what a key looks like", name);
	secret_set(secret, text, size);
	/* In place, because it is not longer. */
	json_object_set_string_len(json_member(answer, name), zeros, (int)size);
	return 0;
}

static int take_keys(struct tdp_credentials *credentials, struct json_object *answer,
		     struct error *err)
{
	struct sigv4_keys keys = {0};
	if (take_secret(answer, "AccessKeyId", &keys.access_key_id, err) != 0 ||
	    take_secret(answer, "SecretAccessKey", &keys.secret_access_key, err) != 0 ||
	    take_secret(answer, "SessionToken", &keys.session_token, err) != 0) {
		sigv4_keys_release(&keys);
		return ERR_INVALID;
	}
	sigv4_keys_release(&credentials->keys);
	credentials->keys = keys;
	return 0;
}

static void on_answer(void *context, struct json_object *answer,
		      const struct transport_outcome *outcome)
{
	struct tdp_credentials *credentials = context;
	struct transport_outcome result = *outcome;
	struct error err;
	credentials->call = NULL;
	if (result.is_ok && take_keys(credentials, answer, &err) != 0) {
		result.is_ok = false;
		snprintf(result.reason, sizeof result.reason, "agent/credentials: %s", err.message);
	}
	if (!result.is_ok) {
		endpoint_failed(credentials->renewing, &result);
		return;
	}
	endpoint_worked(credentials->renewing);
	int64_t life = life_ms(answer);
	int64_t half = life / 2 > SHORTEST_RENEWAL_MS ? life / 2 : SHORTEST_RENEWAL_MS;
	credentials->generation++;
	credentials->ends_ms = clock_monotonic_ms() + life;
	credentials->is_replacement = credentials->was_refused;
	credentials->was_refused = false;
	loop_timer_start(credentials->half_life, half);
	log_debug("the queues' credentials are new; the next ones are due in %lld s",
		  (long long)(half / 1000));
	credentials->on_reached(credentials->context);
	wake(credentials);
}

/* Unless it is under way, or waits to be tried again. */
static void renew(struct tdp_credentials *credentials)
{
	static const char *const path[] = {"v1", "data-acquisition", "agent", "credentials", NULL};
	if (credentials->call != NULL || endpoint_waits(credentials->renewing))
		return;
	loop_timer_stop(credentials->half_life);
	credentials->call = service_call_start(
	    credentials->api, "POST", path, NULL, service_agent_json(credentials->api),
	    CALL_TIMEOUT_MS, LIMIT_SERVICE_ANSWER_BYTES, on_answer, credentials);
	service_call_wipe_answer(credentials->call);
}

static void on_time(void *context)
{
	struct tdp_credentials *credentials = context;
	renew(credentials);
}

const struct sigv4_keys *tdp_credentials_keys(const struct tdp_credentials *credentials,
					      uint64_t *generation)
{
	if (credentials->generation == 0 || clock_monotonic_ms() >= credentials->ends_ms)
		return NULL;
	*generation = credentials->generation;
	return &credentials->keys;
}

void tdp_credentials_wait(struct tdp_credentials *credentials, struct tdp_wait *wait)
{
	/* What has expired is as good as none, whoever asks. */
	wait->generation = credentials->generation;
	wait->is_waiting = true;
	TAILQ_INSERT_TAIL(&credentials->waits, wait, link);
	renew(credentials);
}

void tdp_credentials_cancel_wait(struct tdp_credentials *credentials, struct tdp_wait *wait)
{
	if (wait->is_waiting)
		TAILQ_REMOVE(&credentials->waits, wait, link);
	wait->is_waiting = false;
}

bool tdp_credentials_refused(struct tdp_credentials *credentials, uint64_t generation)
{
	if (generation != credentials->generation)
		return true; /* others have come since */
	if (credentials->is_replacement)
		return false;
	credentials->was_refused = true;
	renew(credentials);
	return true;
}

void tdp_credentials_accepted(struct tdp_credentials *credentials, uint64_t generation)
{
	if (generation == credentials->generation)
		credentials->is_replacement = false;
}

struct tdp_credentials *tdp_credentials_new(struct loop *loop, struct source *source,
					    struct service_api *api,
					    void (*on_reached)(void *context), void *context)
{
	struct tdp_credentials *credentials = mem_new(struct tdp_credentials);
	credentials->api = api;
	credentials->on_reached = on_reached;
	credentials->context = context;
	credentials->half_life = loop_timer_new(loop, on_time, credentials);
	credentials->renewing =
	    endpoint_new(source, "renewing the credentials of the queues", on_time, credentials);
	TAILQ_INIT(&credentials->waits);
	return credentials;
}

void tdp_credentials_free(struct tdp_credentials *credentials)
{
	if (credentials == NULL)
		return;
	service_call_cancel(credentials->call);
	loop_timer_free(credentials->half_life);
	endpoint_free(credentials->renewing);
	sigv4_keys_release(&credentials->keys);
	free(credentials);
}
