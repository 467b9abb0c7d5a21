"""A definition with every key, as SPEC and tutorial have them, which tests take apart."""

SAMPLE = r"""name: "review and ship"
version: "1.0"
description: every key
vars: {branch: main, environment: production, count: 3, deep: {a: [1, 2]}, flag: true, ratio: 0.5}
env: {CI: yes, BRANCH: "{{ vars.branch }}"}
timeout: 2h
budget: {cost: 20, tokens: 4000000, on_exceeded: pause}
concurrency: {group: "deploy-{{ vars.environment }}", when_busy: queue}
schedules:
  - {cron: "0 2 * * *", tz: Europe/Berlin, missed: once, params: {branch: main}}
  - {cron: "*/5 8-18 1,15 * MON-FRI"}
on_failure: notify
finally: tidy
result: "{{ steps.judge.json.approved }}"
steps:
  - id: files
    run: "git diff --name-only {{ vars.branch }} | jq -Rs 'split(\"\\n\")[:-1]'"
    in: ops
    shell: bash
  - id: review
    needs: [files]
    for_each: "{{ steps.files.json }}"
    max_parallel: 4
    fail_fast: true
    agent: role:reviewer
    prompt: "Review {{ item }} ({{ index }})"
    on_failure: continue
  - id: fix
    needs: [review]
    agent: [codex, claude]
    prompt: |
      Fix what these say:
      {{ steps.review.items | map(attribute='result') | join('\n') }}
    verify: "npm test -- {{ vars.branch }}"
    retries:
      max: 3
      backoff: 10
      max_delay: 5m
      workspace: restore
      continue: true
      prompt: "This failed:\n{{ previous.verify }}\nMend it."
    snapshot: true
    priority: 2
  - id: judge
    needs: fix
    agent: reviewer
    prompt: "Is it done? Round {{ round }}"
    schema:
      type: object
      required: [approved]
      properties:
        approved: {type: boolean}
        notes: {type: array, items: {$ref: "#/$defs/note"}}
      $defs: {note: {type: string, maxLength: 200, pattern: "^[a-z]+$"}}
    again: {from: fix, until: "steps.judge.json.approved", max: 5}
  - id: gate
    needs: [judge]
    approval: {prompt: "Ship {{ vars.branch }}?", timeout: 86400, on_timeout: reject}
  - id: ship
    needs: [gate]
    when: "vars.environment == 'production'"
    workflow: deploy
    with: {branch: "{{ vars.branch }}", count: 2}
    outputs: {deploy_url: url}
    files: {from: fix, paths: ["dist/**"]}
    timeout: 10m
  - id: notify
    run: "echo failed"
  - id: tidy
    run: "echo done"
    env: {WHAT: "{{ vars.count }}"}
"""
