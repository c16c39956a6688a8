#include "agent/sigv4.h"

#include <criterion/criterion.h>
#include <string.h>

/* 2026-11-21T04:00:16Z */
static const int64_t NOW_MS = 1795233616789;

static struct sigv4_keys keys;
static struct http_headers headers;

static void set_up(void)
{
	keys = (struct sigv4_keys){0};
	secret_set(&keys.access_key_id, "ASIAEXAMPLE", 11);
	secret_set(&keys.secret_access_key, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40);
	headers = (struct http_headers){0};
	http_headers_add(&headers, "Content-Type", "application/x-amz-json-1.0");
	http_headers_add(&headers, "X-Amz-Target", "AmazonSQS.SendMessage");
}

static void tear_down(void)
{
	http_headers_release(&headers);
	sigv4_keys_release(&keys);
}

TestSuite(sigv4, .init = set_up, .fini = tear_down);

static void lend_token(void)
{
	secret_set(&keys.session_token, "FAKE/SESSION+TOKEN==", 20);
}

static const char *signature_of(struct sigv4 *signer, const char *host, const char *body)
{
	http_headers_add(&headers, "Host", host);
	sigv4_sign(signer, "POST", "/", &headers, body, strlen(body), NOW_MS);
	const char *signature = strstr(http_headers_get(&headers, "Authorization"), "Signature=");
	cr_assert_not_null(signature);
	return signature + strlen("Signature=");
}

/* The expected ones are botocore's (1.29.27). */
static struct sigv4 signer_of(void)
{
	return (struct sigv4){.keys = &keys, .region = "us-east-2", .service = "sqs"};
}

Test(sigv4, signs_as_botocore_does_with_a_session_token)
{
	struct sigv4 signer = signer_of();
	lend_token();
	cr_assert_str_eq(signature_of(&signer, "sqs.us-east-2.amazonaws.com", "{}"),
			 "92d8d57f80db9d3fbae31025b5a9896c90b13765082702031c8a911d208ca2b0");
	cr_assert_str_eq(http_headers_get(&headers, "X-Amz-Date"), "20261121T040016Z");
	cr_assert_str_eq(http_headers_get(&headers, "X-Amz-Security-Token"),
			 "FAKE/SESSION+TOKEN==");
	cr_assert_not_null(strstr(
	    http_headers_get(&headers, "Authorization"),
	    "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/20261121/us-east-2/sqs/aws4_request, "
	    "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, "));
}

Test(sigv4, signs_another_port_and_a_body_that_is_not_ascii)
{
	struct sigv4 signer = signer_of();
	lend_token();
	cr_assert_str_eq(
	    signature_of(&signer, "127.0.0.1:33309", "{\"MessageBody\":\"größer 日本 🎉\"}"),
	    "8b5db0dd6400ec0974d4168cffda156be9c92c415157ccc62bbb29c61d32a0a3");
}

Test(sigv4, needs_no_session_token_and_folds_white_space)
{
	struct sigv4 signer = signer_of();
	http_headers_add(&headers, "X-Spaces", "  a   b\t c ");
	cr_assert_str_eq(signature_of(&signer, "sqs.us-east-2.amazonaws.com", "{}"),
			 "d7ffa49e509d795020d9b5c2d119eb6034e82719b47709df171ed48d72927666");
	cr_assert_null(http_headers_get(&headers, "X-Amz-Security-Token"));
}

Test(sigv4, derives_its_key_again_only_for_another_day_or_other_keys)
{
	struct sigv4 signer = signer_of();
	(void)signature_of(&signer, "a", "{}"); /* for what it leaves behind */
	uint8_t first[SHA256_SIZE];
	memcpy(first, signer.derived, sizeof first);
	cr_assert_str_eq(signer.date, "20261121");

	/* Other keys go unnoticed until the signer is told. */
	secret_set(&keys.secret_access_key, "other", 5);
	http_headers_release(&headers);
	(void)signature_of(&signer, "a", "{}");
	cr_assert_arr_eq(signer.derived, first, sizeof first);
	sigv4_reset(&signer);
	cr_assert_str_eq(signer.date, "");
	http_headers_release(&headers);
	(void)signature_of(&signer, "a", "{}");
	cr_assert_arr_neq(signer.derived, first, sizeof first);

	memcpy(first, signer.derived, sizeof first);
	http_headers_release(&headers);
	sigv4_sign(&signer, "POST", "/", &headers, "", 0, NOW_MS + 86400000);
	cr_assert_str_eq(signer.date, "20261122");
	cr_assert_arr_neq(signer.derived, first, sizeof first);
}
