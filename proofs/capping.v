(** # Capping

For Theorems 2 and A of the chapter *Where the bound ends*. Replace the largest value of a law by a
value [t] and raise [t] from the second largest: if a pointwise inequality [P_ineq] holds then [Phi]
does not rise on the way. At the start of the last step all values are equal and [Phi = 1]. *)
From MLCPC Require Export two_candidates reweighting.
Open Scope R_scope.

Lemma Phi_ext {A} (l : list A) w u u' m al : (forall a, In a l -> u a = u' a) ->
  Phi l w u m al = Phi l w u' m al.
Proof.
  intros H. unfold Phi. apply sum_ext; intros a Ha. rewrite (H a Ha). do 4 f_equal.
  apply E_ext_in; intros t _ Ht. do 3 f_equal. apply sum_ext; intros b Hb. apply H, Ht, Hb.
Qed.

(** The two ingredients of (P). *)
Definition gg {A} (l : list A) w j (alpha b : R) (V : A -> R) x :=
  exp (- E l w (S j) (fun s => ln (alpha * x + b * sum s V))).
Definition KK {A} (l : list A) w j (alpha b : R) (V : A -> R) x y :=
  E l w j (fun s => / (alpha * x + b * y + b * sum s V)).
Definition P_ineq j alpha b := forall (A : Type) (l : list A) w V t x,
  law l w V -> (forall a, V a <= t) -> 0 < x <= t ->
  gg l w j alpha b V t * KK l w j alpha b V t x <= gg l w j alpha b V x * KK l w j alpha b V x t.

Section Path.
Context {A : Type}.
Variables (l : list A) (w : A -> R) (j : nat) (alpha b : R).
Hypothesis w_nonneg : forall a, 0 <= w a.
Hypothesis w_sum : sum l w = 1.
Hypothesis alpha_pos : 0 < alpha.
Hypothesis b_nonneg : 0 <= b.
Notation gg := (gg l w j alpha b).
Notation KK := (KK l w j alpha b).

Definition Phi0 (V : A -> R) := sum l (fun a => w a * (V a * gg V (V a))).

Lemma den0 (V : A -> R) x s : (forall a, 0 < V a) -> 0 < x -> 0 < alpha * x + b * sum s V.
Proof.
  intros HV Hx. assert (0 <= sum s V) by (apply sum_nonneg; intros; left; apply HV).
  assert (0 < alpha * x) by (apply Rmult_lt_0_compat; assumption).
  assert (0 <= b * sum s V) by (apply Rmult_le_pos; assumption). lra.
Qed.

Lemma exchange (f V : A -> R) x :
  E l w (S j) (fun s => sum s f / (alpha * x + b * sum s V))
  = INR (S j) * sum l (fun c => w c * (f c * KK V x (V c))).
Proof.
  pose proof (E_exch l w V j (fun c S => f c * / (alpha * x + b * S)) 0) as H.
  transitivity (E l w (S j) (fun s => sum s (fun c => f c * / (alpha * x + b * (0 + sum s V))))).
  - apply E_ext; intros s _. rewrite Rplus_0_l, sum_scal_r. reflexivity.
  - rewrite H. f_equal. apply sum_ext; intros c _. f_equal. unfold capping.KK.
    rewrite <- E_scal. apply E_ext; intros s _. do 2 f_equal. ring.
Qed.

Variables (top : A -> bool) (u : A -> R) (s0 : R).
Hypothesis s0_pos : 0 < s0.
Hypothesis u_low : forall a, top a = false -> 0 < u a <= s0.
Definition U t a := if top a then t else u a.
Definition chi a := if top a then 1 else 0.

Lemma U_pos t a : 0 < t -> 0 < U t a.
Proof. intros Ht. unfold U. destruct (top a) eqn:Ha; [exact Ht|apply u_low, Ha]. Qed.

Lemma U_derive t a : derivable_pt_lim (fun t => U t a) t (chi a).
Proof.
  unfold U, chi. destruct (top a); [apply derivable_pt_lim_id|apply derivable_pt_lim_const].
Qed.

Definition Phi0' t := sum l (fun a => w a * (chi a * gg (U t) (U t a) - U t a * gg (U t) (U t a) *
  E l w (S j) (fun s => (alpha * chi a + b * sum s chi) / (alpha * U t a + b * sum s (U t))))).

Lemma Phi0_derive t : 0 < t -> derivable_pt_lim (fun t => Phi0 (U t)) t (Phi0' t).
Proof.
  intros Ht. unfold Phi0, Phi0'.
  apply (sum_derive l (fun a t => w a * (U t a * gg (U t) (U t a)))
    (fun a t => w a * (chi a * gg (U t) (U t a) - U t a * gg (U t) (U t a) *
  E l w (S j) (fun s => (alpha * chi a + b * sum s chi) / (alpha * U t a + b * sum s (U t)))))).
  intros a _. apply (derivable_pt_lim_scal (fun t => U t a * gg (U t) (U t a))).
  set (Ed := E l w (S j) (fun s => (alpha * chi a + b * sum s chi) / (alpha * U t a + b * sum s (U t)))).
  replace (chi a * gg (U t) (U t a) - U t a * gg (U t) (U t a) * Ed)
    with (chi a * gg (U t) (U t a) + U t a * (gg (U t) (U t a) * - Ed)) by ring.
  apply (derivable_pt_lim_mult (fun t => U t a) (fun t => gg (U t) (U t a))); [apply U_derive|].
  unfold capping.gg.
  apply (derivable_pt_lim_comp
    (fun t => - E l w (S j) (fun s => ln (alpha * U t a + b * sum s (U t)))) exp);
    [|].
  - apply (derivable_pt_lim_opp
      (fun t => E l w (S j) (fun s => ln (alpha * U t a + b * sum s (U t))))).
    unfold Ed.
    apply (E_derive l w (S j) (fun t s => ln (alpha * U t a + b * sum s (U t)))
      (fun t s => (alpha * chi a + b * sum s chi) / (alpha * U t a + b * sum s (U t)))).
    intros s _.
    replace ((alpha * chi a + b * sum s chi) / (alpha * U t a + b * sum s (U t)))
      with (/ (alpha * U t a + b * sum s (U t)) * (alpha * chi a + b * sum s chi))
      by (unfold Rdiv; ring).
    apply (derivable_pt_lim_comp (fun t => alpha * U t a + b * sum s (U t)) ln).
    + apply (derivable_pt_lim_plus (fun t => alpha * U t a) (fun t => b * sum s (U t))).
      * apply (derivable_pt_lim_scal (fun t => U t a)), U_derive.
      * apply (derivable_pt_lim_scal (fun t => sum s (U t))).
        apply (sum_derive s (fun c t => U t c) (fun c _ => chi c)). intros c _. apply U_derive.
    + apply derivable_pt_lim_ln, den0; [intros; apply U_pos, Ht|apply U_pos, Ht].
  - apply derivable_pt_lim_exp.
Qed.

Lemma chi_U t a : U t a * chi a = t * chi a.
Proof. unfold U, chi. destruct (top a); ring. Qed.

Lemma Phi0'_eq t : 0 < t -> t * Phi0' t = b * INR (S j) *
  sum l (fun a => sum l (fun c => w a * w c * (U t a * U t c) * (chi a - chi c) *
    (gg (U t) (U t a) * KK (U t) (U t a) (U t c)))).
Proof.
  intros Ht. unfold Phi0'. rewrite <- !sum_scal. apply sum_ext; intros a _.
  set (V := U t) in *. set (g := gg V (V a)).
  set (E1 := E l w (S j) (fun s => (alpha * chi a + b * sum s chi) / (alpha * V a + b * sum s V))).
  set (f := fun c => V c * (chi a - chi c)).
  pose proof (exchange f V (V a)) as HX.
  set (E2 := E l w (S j) (fun s => sum s f / (alpha * V a + b * sum s V))) in *.
  assert (HE : chi a = t * E1 + b * E2).
  { unfold E1, E2. rewrite <- !E_scal, <- E_plus, <- (E_const l w w_sum (S j) (chi a)) at 1.
    apply E_ext; intros s _. cbv beta.
    assert (HD : 0 < alpha * V a + b * sum s V)
      by (apply den0; [intros; apply U_pos, Ht|apply U_pos, Ht]).
    assert (Hf : sum s f = chi a * sum s V - t * sum s chi).
    { unfold f. rewrite <- !sum_scal, <- sum_minus. apply sum_ext; intros c _.
      pose proof (chi_U t c) as Hc. fold V in Hc. rewrite <- Hc. ring. }
    rewrite Hf. pose proof (chi_U t a) as Ha. fold V in Ha.
    assert (HN : t * (alpha * chi a + b * sum s chi) + b * (chi a * sum s V - t * sum s chi)
      = chi a * (alpha * V a + b * sum s V)).
    { replace (t * (alpha * chi a + b * sum s chi)) with (alpha * (t * chi a) + t * b * sum s chi) by ring.
      rewrite <- Ha. ring. }
    replace (t * ((alpha * chi a + b * sum s chi) / (alpha * V a + b * sum s V)) +
      b * ((chi a * sum s V - t * sum s chi) / (alpha * V a + b * sum s V)))
      with ((t * (alpha * chi a + b * sum s chi) + b * (chi a * sum s V - t * sum s chi)) / (alpha * V a + b * sum s V))
      by (field; lra).
    rewrite HN. field. lra. }
  replace (t * (w a * (chi a * g - V a * g * E1)))
    with (w a * V a * g * (chi a - t * E1) + w a * g * (t * chi a - V a * chi a)) by ring.
  pose proof (chi_U t a) as Ha. fold V in Ha. rewrite Ha.
  replace (chi a - t * E1) with (b * E2) by lra. rewrite HX.
  replace (w a * V a * g * (b * (INR (S j) * sum l (fun c => w c * (f c * KK V (V a) (V c))))) +
    w a * g * (t * chi a - t * chi a))
    with (b * INR (S j) * (w a * V a * g * sum l (fun c => w c * (f c * KK V (V a) (V c))))) by ring.
  f_equal. rewrite <- sum_scal. apply sum_ext; intros c _. unfold f. ring.
Qed.

Hypothesis HP : P_ineq j alpha b.

Lemma Phi0'_neg t : s0 <= t -> Phi0' t <= 0.
Proof.
  intros Ht0. assert (Ht : 0 < t) by lra. pose proof (Phi0'_eq t Ht) as H.
  set (X := sum l _) in H.
  assert (HX : X <= 0).
  { unfold X. apply sum_antisym. intros a c.
    set (V := U t) in *.
    replace (w a * w c * (V a * V c) * (chi a - chi c) * (gg V (V a) * KK V (V a) (V c)) +
       w c * w a * (V c * V a) * (chi c - chi a) * (gg V (V c) * KK V (V c) (V a)))
      with (w a * w c * (V a * V c) * ((chi a - chi c) *
        (gg V (V a) * KK V (V a) (V c) - gg V (V c) * KK V (V c) (V a)))) by ring.
    assert (HW : 0 <= w a * w c * (V a * V c)).
    { apply Rmult_le_pos; [apply Rmult_le_pos; apply w_nonneg|].
      apply Rmult_le_pos; left; apply U_pos, Ht. }
    assert (HL : law l w V) by (repeat split; [exact w_nonneg|exact w_sum|intros; apply U_pos, Ht]).
    assert (Hmax : forall e, V e <= t).
    { intros e. unfold V, U. destruct (top e) eqn:He; [lra|]. pose proof (u_low e He). lra. }
    assert (Key : (chi a - chi c) *
        (gg V (V a) * KK V (V a) (V c) - gg V (V c) * KK V (V c) (V a)) <= 0).
    { destruct (top a) eqn:Ta; destruct (top c) eqn:Tc; unfold chi; rewrite Ta, Tc; try lra.
      - assert (Va : V a = t) by (unfold V, U; rewrite Ta; reflexivity). rewrite Va.
        pose proof (HP A l w V t (V c) HL Hmax (conj (U_pos t c Ht) (Hmax c))). lra.
      - assert (Vc : V c = t) by (unfold V, U; rewrite Tc; reflexivity). rewrite Vc.
        pose proof (HP A l w V t (V a) HL Hmax (conj (U_pos t a Ht) (Hmax a))). lra. }
    apply Rmult_le_compat_l with (r := w a * w c * (V a * V c)) in Key; [lra|exact HW]. }
  assert (HB : 0 <= b * INR (S j)) by (apply Rmult_le_pos; [exact b_nonneg|apply pos_INR]).
  assert (t * Phi0' t <= 0).
  { rewrite H. apply Rmult_le_compat_l with (r := b * INR (S j)) in HX; [lra|exact HB]. }
  nra.
Qed.

Lemma Phi0_path v : s0 <= v -> Phi0 (U v) <= Phi0 (U s0).
Proof.
  intros [Hv|Hv]; [|rewrite Hv; lra].
  destruct (MVT_cor2 (fun t => Phi0 (U t)) Phi0' s0 v Hv) as [c [Hc Hcb]].
  { intros c Hc. apply Phi0_derive. lra. }
  pose proof (Phi0'_neg c ltac:(lra)).
  assert (0 <= - Phi0' c * (v - s0)) by (apply Rmult_le_pos; lra). lra.
Qed.
End Path.

Lemma Phi_Phi0 {A} (l : list A) w V j alpha :
  Phi l w V (S (S j)) alpha = INR (S (S j)) * Phi0 l w j alpha (beta (S (S j)) alpha) V.
Proof.
  unfold Phi, Phi0, gg. rewrite <- sum_scal. apply sum_ext; intros a _.
  replace (S (S j) - 1)%nat with (S j) by lia. ring.
Qed.

Lemma Phi_const {A} (l : list A) w v m alpha : sum l w = 1 -> (2 <= m)%nat -> 0 < v ->
  Phi l w (fun _ => v) m alpha = 1.
Proof.
  intros H1 Hm Hv. unfold Phi.
  rewrite (E_ext l w (m - 1) _ (fun _ => ln (INR m * v))).
  - rewrite (E_const l w H1), exp_Ropp, exp_ln, sum_scal_r, H1.
    + field. apply (le_INR 2) in Hm. simpl in Hm. split; lra.
    + apply Rmult_lt_0_compat; [apply lt_0_INR; lia|exact Hv].
  - intros t Ht. rewrite sum_const, Ht. f_equal.
    rewrite <- (beta_eq m alpha Hm). ring.
Qed.

Theorem valid_of_P j alpha : 0 < alpha <= INR (S (S j)) ->
  P_ineq j alpha (beta (S (S j)) alpha) -> valid (S (S j)) alpha.
Proof.
  intros Ha HP. assert (Hm : (2 <= S (S j))%nat) by lia.
  pose proof (beta_nonneg (S (S j)) alpha Hm (proj2 Ha)) as Hb.
  assert (Main : forall n (L : list R), length L = n -> (forall x, In x L -> 0 < x) ->
    forall (A : Type) (l : list A) w u, law l w u -> (forall a, In a l -> In (u a) L) ->
    Phi l w u (S (S j)) alpha <= 1).
  { induction n as [|n IH]; intros L HL Hpos A l w u Hlaw Hin.
    - destruct L; [|discriminate]. destruct l as [|a l]; [|destruct (Hin a (or_introl eq_refl))].
      destruct Hlaw as (_ & H1 & _). simpl in H1. lra.
    - destruct L as [|x L]; [discriminate|].
      destruct (extract_max (fun x : R => x) x L) as (v & r & Hp & Hv).
      assert (Hpos' : forall y, In y (v :: r) -> 0 < y)
        by (intros y Hy; apply Hpos; apply (Permutation_in y (Permutation_sym Hp) Hy)).
      assert (Hin' : forall a, In a l -> In (u a) (v :: r))
        by (intros a Hal; apply (Permutation_in _ Hp), Hin, Hal).
      apply Permutation_length in Hp. simpl in Hp, HL.
      pose proof Hlaw as (Hw & H1 & Hu).
      destruct r as [|y r].
      + rewrite (Phi_ext l w u (fun _ => v)); [|intros a Hal; destruct (Hin' a Hal) as [->|[]]; reflexivity].
        right. apply Phi_const; [exact H1|exact Hm|apply Hpos'; left; reflexivity].
      + destruct (extract_max (fun x : R => x) y r) as (s & r' & Hp2 & Hs).
        assert (Hsr : In s (y :: r))
          by (apply (Permutation_in s (Permutation_sym Hp2)); left; reflexivity).
        assert (Hs' : forall z, In z (y :: r) -> z <= s).
        { intros z Hz. apply (Permutation_in z Hp2) in Hz. destruct Hz as [<-|Hz]; [lra|apply Hs, Hz]. }
        assert (Hs0 : 0 < s) by (apply Hpos'; right; exact Hsr).
        pose proof (Hv s Hsr) as Hsv. cbv beta in Hsv.
        set (top := fun a => if Rlt_dec s (u a) then true else false).
        assert (Hlow : forall a, top a = false -> 0 < u a <= s).
        { intros a. unfold top. destruct (Rlt_dec s (u a)) as [Hlt|Hlt]; [discriminate|].
          intros _. split; [apply Hu|lra]. }
        pose proof (Phi0_path l w j alpha (beta (S (S j)) alpha) Hw H1 (proj1 Ha) Hb top u s Hs0 Hlow HP v Hsv) as HPath.
        rewrite (Phi_ext l w u (U top u v)).
        * apply Rle_trans with (Phi l w (U top u s) (S (S j)) alpha).
          { rewrite !Phi_Phi0. apply Rmult_le_compat_l; [apply pos_INR|exact HPath]. }
          apply (IH (y :: r)).
          -- lia.
          -- intros z Hz. apply Hpos'. right. exact Hz.
          -- repeat split; [exact Hw|exact H1|]. intros a. apply (U_pos top u s Hlow s a Hs0).
          -- intros a Hal. unfold U, top. destruct (Rlt_dec s (u a)) as [Hlt|Hlt]; [exact Hsr|].
             destruct (Hin' a Hal) as [Hva|Hr]; [|exact Hr].
             assert (s = u a) by lra. rewrite <- H. exact Hsr.
        * intros a Hal. unfold U, top. destruct (Rlt_dec s (u a)) as [Hlt|Hlt]; [|reflexivity].
          destruct (Hin' a Hal) as [Hva|Hr]; [symmetry; exact Hva|].
          pose proof (Hs' _ Hr). lra. }
  intros A l w u HL. apply (Main (length (map u l)) (map u l) eq_refl); [|exact HL|].
  - intros x Hx. apply in_map_iff in Hx. destruct Hx as (a & <- & _). apply HL.
  - intros a Hal. apply in_map, Hal.
Qed.

(** A sufficient condition for (P). *)
Section AB.
Context {A : Type}.
Variables (l : list A) (w V : A -> R) (j : nat) (alpha b t x : R).
Hypothesis Hlaw : law l w V.
Hypothesis alpha_pos : 0 < alpha.
Hypothesis b_nonneg : 0 <= b.
Hypothesis Hx : 0 < x <= t.
Let mu := sum l (fun a => w a * V a).
Let M := alpha * t + b * (INR (S j) * mu).
Let KA s := / (alpha * t + b * x + b * sum s V).
Let KB s := / (alpha * x + b * t + b * sum s V).
Hypothesis HAB : (b - alpha) * M * E l w j (fun s => KA s * KB s) <= alpha * E l w j KA.

Lemma mu_nonneg : 0 <= mu.
Proof.
  destruct Hlaw as (Hw & _ & Hu).
  apply sum_nonneg; intros; apply Rmult_le_pos; [apply Hw|left; apply Hu].
Qed.

Lemma M_pos : 0 < M.
Proof.
  unfold M. pose proof mu_nonneg. pose proof (pos_INR (S j)).
  assert (0 < alpha * t) by (apply Rmult_lt_0_compat; lra).
  assert (0 <= b * (INR (S j) * mu)) by (apply Rmult_le_pos; [|apply Rmult_le_pos]; assumption). lra.
Qed.

Lemma P_of_AB :
  gg l w j alpha b V t * KK l w j alpha b V t x <= gg l w j alpha b V x * KK l w j alpha b V x t.
Proof.
  destruct Hlaw as (Hw & H1 & Hu). pose proof M_pos as HM.
  assert (Hs : forall s, 0 <= b * sum s V).
  { intros s. apply Rmult_le_pos; [exact b_nonneg|]. apply sum_nonneg; intros; left; apply Hu. }
  assert (Hdt : forall s, 0 < alpha * t + b * sum s V).
  { intros s. specialize (Hs s). assert (0 < alpha * t) by (apply Rmult_lt_0_compat; lra). lra. }
  assert (Hdx : forall s, 0 < alpha * x + b * sum s V).
  { intros s. specialize (Hs s). assert (0 < alpha * x) by (apply Rmult_lt_0_compat; lra). lra. }
  set (theta := alpha * (t - x) / M).
  assert (Hth : 0 <= theta).
  { unfold theta. apply Rmult_le_pos; [apply Rmult_le_pos; lra|left; apply Rinv_0_lt_compat, HM]. }
  assert (Hg : gg l w j alpha b V t <= gg l w j alpha b V x * (1 - theta)).
  { unfold gg.
    replace (- E l w (S j) (fun s => ln (alpha * t + b * sum s V)))
      with (- E l w (S j) (fun s => ln (alpha * x + b * sum s V)) +
        E l w (S j) (fun s => ln ((alpha * x + b * sum s V) / (alpha * t + b * sum s V)))).
    2:{ rewrite (E_ext l w (S j) (fun s => ln ((alpha * x + b * sum s V) / (alpha * t + b * sum s V)))
         (fun s => ln (alpha * x + b * sum s V) + (-1) * ln (alpha * t + b * sum s V))).
        - rewrite E_plus, E_scal. ring.
        - intros s _. rewrite ln_div' by auto. ring. }
    rewrite exp_plus. apply Rmult_le_compat_l; [left; apply exp_pos|].
    eapply Rle_trans; [apply E_jensen; assumption|].
    apply Rle_trans with (E l w (S j) (fun s => (1 - 2 * theta + theta / M * (alpha * t)) +
      (theta / M * b) * sum s V)).
    - apply E_le; [exact Hw|]. intros s _. specialize (Hdt s). specialize (Hdx s).
      rewrite exp_ln by (apply Rdiv_lt_0_compat; assumption).
      set (D := alpha * t + b * sum s V) in *.
      replace ((alpha * x + b * sum s V) / D) with (1 - theta * (M / D)).
      2:{ unfold theta. replace (alpha * x + b * sum s V) with (D - alpha * (t - x))
            by (unfold D; ring). field. split; lra. }
      replace (1 - 2 * theta + theta / M * (alpha * t) + theta / M * b * sum s V)
        with (1 - theta * (2 - D / M)) by (unfold D; field; lra).
      assert (2 - D / M <= M / D).
      { apply Rmult_le_reg_r with (M * D); [apply Rmult_lt_0_compat; assumption|].
        replace (M / D * (M * D)) with (M * M) by (field; lra).
        replace ((2 - D / M) * (M * D)) with (2 * M * D - D * D) by (field; lra).
        assert (0 <= (M - D) * (M - D)) by apply Rle_0_sqr. lra. }
      assert (theta * (2 - D / M) <= theta * (M / D)) by (apply Rmult_le_compat_l; assumption).
      lra.
    - rewrite E_plus, E_scal, (E_const l w H1), (E_linear l w (S j) V H1). fold mu.
      right. transitivity (1 - 2 * theta + theta / M * (alpha * t + b * (INR (S j) * mu))); [ring|].
      change (alpha * t + b * (INR (S j) * mu)) with M. field. lra. }
  assert (HK : (1 - theta) * KK l w j alpha b V t x <= KK l w j alpha b V x t).
  { unfold KK. change (E l w j (fun s => / (alpha * t + b * x + b * sum s V))) with (E l w j KA).
    change (E l w j (fun s => / (alpha * x + b * t + b * sum s V))) with (E l w j KB).
    assert (HE : E l w j KA = E l w j KB + (b - alpha) * (t - x) * E l w j (fun s => KA s * KB s)).
    { rewrite <- E_scal, <- E_plus. apply E_ext; intros s _. unfold KA, KB.
      specialize (Hs s).
      assert (0 < alpha * t) by (apply Rmult_lt_0_compat; lra).
      assert (0 < alpha * x) by (apply Rmult_lt_0_compat; lra).
      assert (0 <= b * t) by (apply Rmult_le_pos; lra).
      assert (0 <= b * x) by (apply Rmult_le_pos; lra).
      field. split; lra. }
    assert (H : (b - alpha) * (t - x) * E l w j (fun s => KA s * KB s) <= theta * E l w j KA); [|lra].
    apply Rmult_le_reg_r with M; [exact HM|].
    replace (theta * E l w j KA * M) with ((t - x) * (alpha * E l w j KA))
      by (unfold theta; field; lra).
    replace ((b - alpha) * (t - x) * E l w j (fun s => KA s * KB s) * M)
      with ((t - x) * ((b - alpha) * M * E l w j (fun s => KA s * KB s))) by ring.
    apply Rmult_le_compat_l; [lra|exact HAB]. }
  assert (HK0 : 0 <= KK l w j alpha b V t x).
  { unfold KK. rewrite <- (E_const l w H1 j 0). apply E_le; [exact Hw|]. intros s _.
    left. apply Rinv_0_lt_compat. specialize (Hdt s).
    assert (0 <= b * x) by (apply Rmult_le_pos; lra). lra. }
  assert (0 < gg l w j alpha b V x) by apply exp_pos.
  eapply Rle_trans; [apply Rmult_le_compat_r; [exact HK0|exact Hg]|].
  rewrite Rmult_assoc. apply Rmult_le_compat_l; [lra|exact HK].
Qed.
End AB.

Lemma mean_le {A} (l : list A) w V t : law l w V -> (forall a, V a <= t) ->
  sum l (fun a => w a * V a) <= t.
Proof.
  intros (Hw & H1 & Hu) Ht. rewrite <- (Rmult_1_l t), <- H1, <- sum_scal_r.
  apply sum_le; intros a _. apply Rmult_le_compat_l; [apply Hw|apply Ht].
Qed.

Lemma beta_facts j alpha : 0 < alpha <= 1 ->
  let m := INR (S (S j)) in let b := beta (S (S j)) alpha in
  2 <= m /\ INR (S j) = m - 1 /\ alpha + (m - 1) * b = m /\ alpha <= b /\ 0 < b /\
  (b - alpha) * (m - 1) = m * (1 - alpha) /\ b * (m - 1) = m - alpha.
Proof.
  intros Ha m b.
  assert (Hm : 2 <= m) by (apply (le_INR 2); lia).
  assert (Hk : INR (S j) = m - 1) by (unfold m; rewrite (S_INR (S j)); ring).
  assert (Hb : b * (m - 1) = m - alpha) by (unfold b, beta; fold m; field; lra).
  assert (Hba : (b - alpha) * (m - 1) = m * (1 - alpha)) by (rewrite Rmult_minus_distr_r, Hb; ring).
  assert (Hle : alpha <= b).
  { apply Rmult_le_reg_r with (m - 1); [lra|].
    assert (0 <= m * (1 - alpha)) by (apply Rmult_le_pos; lra). lra. }
  repeat split; try assumption; lra.
Qed.
