import asyncio, signal, os, time
from tests.e2e.deployment import CREATE
from tests.service import a_customer, a_lot, a_shop, until
import pytest

@pytest.fixture
async def shop(deployment):
    return await deployment.open_shop(a_shop(a_customer(a_lot(700))))

@pytest.mark.parametrize("away", [2, 5, 9])
async def test_temporal_away(deployment, shop, away):
    await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=8)
    t=time.time()
    purchase = asyncio.ensure_future(shop.purchase())
    await deployment.shopify_is_asked()
    end=time.time()+away
    n=0
    while time.time()<end:
        pid=deployment.stack.pids.get("temporal")
        if pid:
            os.kill(pid, signal.SIGKILL); n+=1
        await asyncio.sleep(0.05)
    a = await purchase
    print("AWAY",away,"kills",n,"ANSWER", a.status_code, a.text[:200], round(time.time()-t,1))
    await deployment.engine_is_back()
    print("back", round(time.time()-t,1))
    await deployment.settled(shop)
    [r]=await shop.redemptions()
    print("END", r.status, r.attempt, await shop.balance(), len(await shop.discounts("live")), round(time.time()-t,1))

async def test_worker_killed_timing(deployment, shop):
    _, api = await deployment.start_api(deadline_seconds=6)
    worker = await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=3)
    t=time.time()
    purchase = asyncio.ensure_future(shop.purchase(api=api))
    await deployment.shopify_is_asked()
    await worker.end(signal.SIGKILL)
    await deployment.start_worker()
    print("worker back", round(time.time()-t,1))
    a = await purchase
    print("ANSWER", a.status_code, a.text[:200], round(time.time()-t,1))
    async def back(): return await shop.balance()==700
    await until(back)
    print("points back", round(time.time()-t,1))
    await deployment.settled(shop)
    print("settled", round(time.time()-t,1))

async def test_twoworker_killed_timing(deployment, shop):
    """another worker lives all the time"""
    worker = await deployment.start_worker()
    await deployment.fault("shopify", "throttled", operation=CREATE, retry_after=2)
    t=time.time()
    purchase = asyncio.ensure_future(shop.purchase())
    await until(shop.redemptions)
    [pending] = await shop.redemptions()
    await until(lambda: deployment.waits_for_another_try(pending.id))
    w2 = await deployment.start_worker()
    await worker.end(signal.SIGKILL)
    a = await purchase
    print("ANSWER", a.status_code, a.text[:100], round(time.time()-t,1))
