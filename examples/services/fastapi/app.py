"""A payments API that knows nothing of keys: a payment that is asked for twice is made twice."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, conint, constr

app = FastAPI()
ledger = Path(os.environ.get("LEDGER", "/tmp/payments.jsonl"))  # it outlives the process
ledger.touch()


class Order(BaseModel):
    amount: conint(strict=True, gt=0)  # strict: 12.5 would be cut to 12
    to: constr(min_length=1)


def payments() -> list[dict]:
    return [json.loads(line) for line in ledger.read_text().splitlines()]


def delay(x_demo_delay: str = Header("0s")) -> float:
    """Seconds, 30 at most."""
    match = re.fullmatch(r"(\d{1,6})(ms|s)", x_demo_delay)
    if not match:
        raise HTTPException(400, "X-Demo-Delay is a duration such as 3s or 500ms")
    return min(int(match[1]) / {"ms": 1000, "s": 1}[match[2]], 30)


@app.post("/api/payments", status_code=201)
async def pay(
    order: Order,
    response: Response,
    seconds: float = Depends(delay),
    x_demo_crash: Literal["after"] | None = Header(None),
):
    await asyncio.sleep(seconds)
    payment = {"id": f"p-{len(payments()) + 1}", "amount": order.amount, "to": order.to}
    with ledger.open("a") as file:  # nothing is awaited since the payments were counted
        file.write(json.dumps(payment) + "\n")
    if x_demo_crash:
        os._exit(1)
    response.headers["Location"] = f"/api/payments/{payment['id']}"
    return payment


@app.get("/api/payments")
async def list_payments():
    return payments()


@app.get("/api/payments/{id}")
async def show(id: str):
    for payment in payments():
        if payment["id"] == id:
            return payment
    raise HTTPException(404, "there is no such payment")
