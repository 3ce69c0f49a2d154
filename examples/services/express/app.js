// A payments API that knows nothing of keys: a payment that is asked for twice is made twice.
'use strict';

const fs = require('node:fs');
const express = require('express');

const ledger = process.env.LEDGER || '/tmp/payments.jsonl'; // it outlives the process
const app = express();

function payments() {
  const lines = fs.readFileSync(ledger, { encoding: 'utf8', flag: 'a+' }).split('\n');
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

function validate(req, res, next) {
  const { amount, to } = req.body || {};
  const crash = req.get('X-Demo-Crash');
  if (!Number.isSafeInteger(amount) || amount <= 0 || typeof to !== 'string' || !to) {
    return res.status(400).json({ error: 'send a payment such as {"amount":12,"to":"bob"}' });
  }
  if (crash !== undefined && crash !== 'after') {
    return res.status(400).json({ error: 'X-Demo-Crash is after: the API pays, and dies before it answers' });
  }
  next();
}

function delay(req, res, next) {
  const match = /^(\d{1,6})(ms|s)$/.exec(req.get('X-Demo-Delay') || '0s');
  if (!match) {
    return res.status(400).json({ error: 'X-Demo-Delay is a duration such as 3s or 500ms' });
  }
  setTimeout(next, Math.min(match[1] * { ms: 1, s: 1000 }[match[2]], 30_000));
}

app.post('/api/payments', express.json(), validate, delay, (req, res) => {
  const { amount, to } = req.body;
  const payment = { id: `p-${payments().length + 1}`, amount, to };
  fs.appendFileSync(ledger, JSON.stringify(payment) + '\n');
  if (req.get('X-Demo-Crash')) {
    process.exit(1);
  }
  res.status(201).location(`/api/payments/${payment.id}`).json(payment);
});

app.get('/api/payments', (req, res) => res.json(payments()));

app.get('/api/payments/:id', (req, res) => {
  const payment = payments().find(({ id }) => id === req.params.id);
  return payment ? res.json(payment) : res.status(404).json({ error: 'there is no such payment' });
});

app.listen(process.env.PORT || 3000, '127.0.0.1');
